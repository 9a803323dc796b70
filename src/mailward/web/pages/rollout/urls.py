from django.urls import URLPattern, path

from mailward.web.pages.rollout import views

urlpatterns: list[URLPattern] = [
    path("rollout/", views.rollout_list, name="rollout-list"),
    path("rollout/choose/", views.rollout_choose, name="rollout-choose"),
    path("domains/<str:name>/rollout/", views.domain_rollout, name="domain-rollout"),
    path("domains/<str:name>/rollout/promote/", views.domain_promote, name="domain-promote"),
    path("domains/<str:name>/rollout/choose/", views.domain_rollout_choose, name="domain-rollout-choose"),
]
