"""Every address of the console, one file an area; tests/contract/test_urls.py knows each of them."""

from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

handler500 = "mailward.web.errors.broken"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", RedirectView.as_view(pattern_name="domain-list"), name="home"),
    path("", include("mailward.web.pages.accounts.urls")),
    path("", include("mailward.web.pages.domains.urls")),
    path("", include("mailward.web.pages.many.urls")),
    path("", include("mailward.web.pages.checks.urls")),
    path("", include("mailward.web.pages.policies.urls")),
    path("", include("mailward.web.pages.mx.urls")),
    path("", include("mailward.web.pages.rollout.urls")),
    path("", include("mailward.web.pages.reports.urls")),
    path("", include("mailward.web.pages.quarantine.urls")),
    path("", include("mailward.web.pages.problems.urls")),
    path("", include("mailward.web.pages.health.urls")),
]
