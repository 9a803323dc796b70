from django.urls import URLPattern, path

from mailward.web.pages.policies import moving, views

urlpatterns: list[URLPattern] = [
    path("domains/<str:name>/policy/", views.domain_policy, name="domain-policy"),
    path("domains/<str:name>/policy/edit/", views.domain_policy_edit, name="domain-policy-edit"),
    path("domains/<str:name>/policy/history/", views.domain_history, name="domain-history"),
    path("domains/<str:name>/policy/leave/", moving.domain_leave, name="domain-leave"),
    path("domains/<str:name>/policy/leave/begin/", moving.domain_leave_begin, name="domain-leave-begin"),
    path("domains/<str:name>/policy/leave/end/", moving.domain_leave_end, name="domain-leave-end"),
    path("domains/<str:name>/policy/move/", moving.domain_move, name="domain-move"),
    path("domains/<str:name>/policy/take-over/", moving.domain_take_over, name="domain-take-over"),
    path("domains/<str:name>/events/", views.domain_events, name="domain-events"),
    path(
        "domains/<str:name>/policy/history/<int:number>/restore/", views.domain_restore, name="domain-restore"
    ),
]
