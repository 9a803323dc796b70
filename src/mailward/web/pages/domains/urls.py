from django.urls import URLPattern, path

from mailward.web.pages.domains import adding, certificate, listing, records, servers, setup

urlpatterns: list[URLPattern] = [
    path("domains/", listing.domain_list, name="domain-list"),
    path("domains/add/", adding.domain_add, name="domain-add"),
    path("domains/records/", records.domain_records, name="domain-records"),
    path("dns-servers/", servers.dns_servers, name="dns-servers"),
    path("dns-servers/<int:zone_id>/try/", servers.dns_server_try, name="dns-server-try"),
    path("dns-servers/<int:zone_id>/remove/", servers.dns_server_remove, name="dns-server-remove"),
    path("domains/<str:name>/setup/", setup.domain_setup, name="domain-setup"),
    path("domains/<str:name>/check/", setup.domain_check, name="domain-check"),
    path("domains/<str:name>/certificate/", certificate.domain_certificate, name="domain-certificate"),
    path("domains/<str:name>/test-report/", setup.domain_test_report, name="domain-test-report"),
    path("domains/<str:name>/recipients/", setup.domain_recipient_add, name="domain-recipient-add"),
    path(
        "domains/<str:name>/recipients/<int:recipient_id>/remove/",
        setup.domain_recipient_remove,
        name="domain-recipient-remove",
    ),
    path("domains/<str:name>/remove/", adding.domain_remove, name="domain-remove"),
]
