from django.urls import URLPattern, path

from mailward.web.pages.checks import asked, views

urlpatterns: list[URLPattern] = [
    path("domains/<str:name>/checks/", views.domain_checks, name="domain-checks"),
    path("domains/<str:name>/checks/now/", views.domain_checks_now, name="domain-checks-now"),
    path("domains/<str:name>/checks/compare/", views.domain_checks_compare, name="domain-checks-compare"),
    path("domains/<str:name>/checks/<int:check_id>/", views.domain_checks_one, name="domain-checks-one"),
    path("check/", asked.check_any, name="check"),
    path("check/<int:asked_id>/", asked.check_result, name="check-result"),
]
