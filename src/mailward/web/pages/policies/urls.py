from django.urls import URLPattern, path

from mailward.web.pages.policies import views

urlpatterns: list[URLPattern] = [
    path("domains/<str:name>/policy/", views.domain_policy, name="domain-policy"),
    path("domains/<str:name>/policy/edit/", views.domain_policy_edit, name="domain-policy-edit"),
    path("domains/<str:name>/policy/history/", views.domain_history, name="domain-history"),
    path("domains/<str:name>/events/", views.domain_events, name="domain-events"),
    path(
        "domains/<str:name>/policy/history/<int:number>/restore/", views.domain_restore, name="domain-restore"
    ),
]
