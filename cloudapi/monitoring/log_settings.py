"""What Django hands to Python's logging: which records are kept, and their form."""


def log_settings(form: str, *, level: str) -> dict[str, object]:
    """As `logging.config.dictConfig` takes it; `form` is LINES or JSON."""
    loggers: dict[str, dict[str, object]] = {
        "axes": {"level": "WARNING"},  # lock-outs, not every sign-in
        "celery.app.trace": {"level": "WARNING"},  # failures, not every task
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING", "filters": ["first_line"]},
    }
    if form == "JSON":  # else uvicorn logs in lines of its own
        loggers |= {
            "uvicorn": {"handlers": ["console"], "propagate": False},
            "uvicorn.error": {"handlers": []},
            "uvicorn.access": {"handlers": ["console"], "propagate": False},
        }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "LINES": {
                "()": "mqtt_bridge.monitoring.log_format.Line",
                "format": "{asctime} {levelname} {name} {message}",
                "style": "{",
            },
            "JSON": {"()": "mqtt_bridge.monitoring.log_format.JSONLine"},
        },
        "filters": {
            "first_line": {"()": "cloudapi.workers.FirstLine"},
            "mask_tokens": {"()": "cloudapi.web.log_masking.MaskTokens"},
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": form, "filters": ["mask_tokens"]}},
        "loggers": loggers,
        "root": {"handlers": ["console"], "level": level},
    }
