from django.urls import URLPattern, path

from mailward.web.pages.many import changes, imports, profiles

urlpatterns: list[URLPattern] = [
    path("profiles/", profiles.profile_list, name="profile-list"),
    path("profiles/new/", profiles.profile_new, name="profile-new"),
    path("profiles/<int:profile_id>/", profiles.profile_detail, name="profile-detail"),
    path("profiles/<int:profile_id>/members/", profiles.profile_members, name="profile-members"),
    path("profiles/<int:profile_id>/members/remove/", profiles.profile_remove, name="profile-remove"),
    path("profiles/<int:profile_id>/automatic/", profiles.profile_automatic, name="profile-automatic"),
    path("profiles/<int:profile_id>/change/", profiles.profile_change, name="profile-change"),
    path("changes/<int:change_id>/", changes.change_detail, name="change-detail"),
    path("changes/<int:change_id>/act/", changes.change_act, name="change-act"),
    path("domains/import/", imports.domain_import, name="domain-import"),
    path("imports/<int:import_id>/", imports.import_detail, name="import-detail"),
    path("imports/<int:import_id>/act/", imports.import_act, name="import-act"),
    path("imports/<int:import_id>/records.<str:form>", imports.import_records, name="import-records"),
]
