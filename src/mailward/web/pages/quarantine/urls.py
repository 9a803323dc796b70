"""Files that people bring, and what could not be read."""

from django.urls import URLPattern, path

from mailward.web.pages.quarantine import upload, views

urlpatterns: list[URLPattern] = [
    path("reports/upload/", upload.upload, name="upload"),
    path("quarantine/", views.quarantine_list, name="quarantine-list"),
    path("quarantine/<int:quarantine_id>/", views.quarantine_detail, name="quarantine-detail"),
    path("quarantine/<int:quarantine_id>/raw/", views.quarantine_raw, name="quarantine-raw"),
    path("quarantine/<int:quarantine_id>/again/", views.quarantine_again, name="quarantine-again"),
]
