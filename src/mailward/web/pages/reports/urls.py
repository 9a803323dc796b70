"""The overview of a domain, and its reports."""

from django.urls import URLPattern, path

from mailward.web.pages.reports import detail, listing, overview

urlpatterns: list[URLPattern] = [
    path("domains/<str:name>/", overview.domain_home, name="domain-home"),
    path("domains/<str:name>/reports/", listing.domain_reports, name="domain-reports"),
    path("reports/", listing.report_list, name="report-list"),
    path("reports/<int:report_id>/", detail.report_detail, name="report-detail"),
    path("reports/<int:report_id>/raw/", detail.report_raw, name="report-raw"),
    path("reports/<int:report_id>/export/<slug:form>/", detail.report_export, name="report-export"),
]
