"""The web process: `uvicorn cloudapi.asgi:application`."""

import os
import warnings

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloudapi.settings")
# WhiteNoise hands over static files in small synchronous pieces, which Django remarks upon and serves well.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

application = get_asgi_application()
