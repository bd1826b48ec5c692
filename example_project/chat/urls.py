from django.urls import path

from . import views

app_name = "chat"
urlpatterns = [
    path("", views.first_room, name="first"),
    path("name/", views.name, name="name"),
    path("<slug:slug>/", views.room, name="room"),
    path("<slug:slug>/act/", views.act, name="act"),
]
