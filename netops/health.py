"""`/health/`: 200 while every role is up, else 503 naming what is not. Open to everyone, says nothing of any team."""

import redis
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse

from core import roles


def health(request: HttpRequest) -> JsonResponse:
    down = []
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        down.append("postgres")
    try:
        down += roles.missing()
    except redis.RedisError:
        down.append("valkey")
    answer = {"status": "down", "down": down} if down else {"status": "up", "down": []}
    return JsonResponse(answer, status=503 if down else 200)
