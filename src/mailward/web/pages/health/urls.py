from django.urls import URLPattern, path

from mailward.web.pages.health import views

urlpatterns: list[URLPattern] = [
    path("health/", views.health, name="health"),
]
