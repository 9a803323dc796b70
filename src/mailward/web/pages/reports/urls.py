"""The overview of a domain, and its reports."""

from django.urls import URLPattern, path

from mailward.web.pages.reports.overview import domain_home

urlpatterns: list[URLPattern] = [
    path("domains/<str:name>/", domain_home, name="domain-home"),
]
