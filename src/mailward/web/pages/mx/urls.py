from django.urls import URLPattern, path

from mailward.web.pages.mx import views

urlpatterns: list[URLPattern] = [
    path("domains/<str:name>/mx/", views.domain_mx, name="domain-mx"),
    path("domains/<str:name>/mx/follow/", views.mx_follow, name="mx-follow"),
    path("domains/<str:name>/mx/plan/", views.mx_plan, name="mx-plan"),
    path("domains/<str:name>/mx/<int:change_id>/end/", views.mx_end, name="mx-end"),
    path("veto/<str:token>/", views.veto, name="veto"),
]
