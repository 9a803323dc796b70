import logging

from django.apps import AppConfig

from mailward.web.logged import DJANGOS, HideLinks


class WebConfig(AppConfig):
    name = "mailward.web"
    label = "web"

    def ready(self) -> None:
        for name in DJANGOS:
            logging.getLogger(name).addFilter(HideLinks())
