"""The REST interface for programs that leave the poses to the service.

POST   /v1/uploads                          a picture's bytes     its name, to use wherever a picture is named
POST   /v1/open                             picture (and poses)   a key, and everybody in the picture
GET    /v1/open/{key}                                             everybody, as they are now
POST   /v1/open/{key}/clicks                clicks                everybody after them
POST   /v1/open/{key}/persons               box                   everybody and one more
DELETE /v1/open/{key}/persons/{person}                            everybody else
POST   /v1/open/{key}/undo                                        everybody before the last step
DELETE /v1/open/{key}                                             closed
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from integrations.strict_json import StrictRoute
from serve.web.open_images import OpenImages
from serve.web.rest import StatelessPoseService
from serve.web.schemas import (
    BoxBody,
    ClicksBody,
    OpenedResponse,
    OpenRequest,
    PosesResponse,
    UploadedResponse,
    to_poses,
)

Key = Annotated[str, Path(max_length=64)]
PICTURE = {
    "requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}
Person = Annotated[int, Path(ge=0, le=1_000_000)]


def build_open_router(images: OpenImages) -> APIRouter:
    """Return the routes for programs that leave the poses to the service."""
    router = APIRouter(route_class=StrictRoute)

    @router.post("/v1/open")
    async def open_image(request: OpenRequest) -> OpenedResponse:
        """Open a picture, with its predicted poses or with those given."""
        poses = None if request.poses is None else to_poses(request.poses)
        return OpenedResponse.opened(*await images.open(request.image, poses))

    @router.get("/v1/open/{key}")
    async def current(key: Key) -> PosesResponse:
        """Return everybody in an open picture."""
        return PosesResponse.of(await images.current(key))

    @router.post("/v1/open/{key}/clicks")
    async def click(key: Key, request: ClicksBody) -> PosesResponse:
        """Apply clicks; clicked keypoints are held."""
        clicks = [click.to_click() for click in request.clicks]
        return PosesResponse.of(await images.click(key, clicks, request.hold))

    @router.post("/v1/open/{key}/persons")
    async def add_person(key: Key, request: BoxBody) -> PosesResponse:
        """Add a person the model missed."""
        return PosesResponse.of(await images.add_person(key, request.box_px))

    @router.delete("/v1/open/{key}/persons/{person}")
    async def remove_person(key: Key, person: Person) -> PosesResponse:
        """Remove a person; those after it move up by one."""
        return PosesResponse.of(await images.remove_person(key, person))

    @router.post("/v1/open/{key}/undo")
    async def undo(key: Key) -> PosesResponse:
        """Go back to before the last step."""
        return PosesResponse.of(await images.undo(key))

    @router.delete("/v1/open/{key}", status_code=204)
    async def close(key: Key) -> Response:
        """Close a picture."""
        images.close(key)
        return Response(status_code=204)

    return router


def build_upload_router(service: StatelessPoseService) -> APIRouter:
    """Return the route that takes pictures themselves."""
    router = APIRouter()

    @router.post("/v1/uploads", openapi_extra=PICTURE)
    async def upload(request: Request) -> UploadedResponse:
        """Take a picture, and return the name by which the other routes know it."""
        return UploadedResponse(image=await service.upload(await request.body()))

    return router
