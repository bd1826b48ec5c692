from django.urls import path

from . import views

app_name = "station"
urlpatterns = [
    path("", views.board, name="board"),
    path("streamdb/", views.streamdb, name="streamdb"),
    path("send/", views.send, name="send"),
    path("control/", views.control, name="control"),
    path("commit/<txid>/", views.commit, name="commit"),
]
