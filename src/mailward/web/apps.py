from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "mailward.web"
    label = "web"
