from django.urls import URLPattern, path

from mailward.web.pages.problems import views

urlpatterns: list[URLPattern] = [
    path("problems/", views.problem_list, name="problem-list"),
    path("problems/<int:problem_id>/", views.problem_detail, name="problem-detail"),
]
