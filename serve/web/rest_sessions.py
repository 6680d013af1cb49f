"""The REST interface for programs that let the service keep the poses.

POST   /v1/uploads                          an image file         its name, accepted wherever an image is named
POST   /v1/open                             image (and poses)     a key, and all persons
GET    /v1/open/{key}                                             all persons as they are now
POST   /v1/open/{key}/clicks                clicks                all persons after these clicks
POST   /v1/open/{key}/persons               box                   all persons and one more
DELETE /v1/open/{key}/persons/{person}                            all other persons
POST   /v1/open/{key}/undo                                        all persons before the last step
DELETE /v1/open/{key}                                             nothing: the image is closed
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
IMAGE_FILE = {
    "requestBody": {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}
Person = Annotated[int, Path(ge=0, le=1_000_000)]


def build_open_router(images: OpenImages) -> APIRouter:
    """Return the routes for images whose poses the service keeps."""
    router = APIRouter(route_class=StrictRoute)

    @router.post("/v1/open")
    async def open_image(request: OpenRequest) -> OpenedResponse:
        """Open an image, with detected poses or with the given ones."""
        poses = None if request.poses is None else to_poses(request.poses)
        return OpenedResponse.opened(*await images.open(request.image, poses))

    @router.get("/v1/open/{key}")
    async def current(key: Key) -> PosesResponse:
        """Return all persons in an open image."""
        return PosesResponse.of(await images.current(key))

    @router.delete("/v1/open/{key}", status_code=204)
    async def close(key: Key) -> Response:
        """Close an image."""
        await images.close(key)
        return Response(status_code=204)

    _add_steps(router, images)
    return router


def _add_steps(router: APIRouter, images: OpenImages) -> None:
    """Add the routes that change the poses of an open image."""

    @router.post("/v1/open/{key}/clicks")
    async def click(key: Key, request: ClicksBody) -> PosesResponse:
        """Apply clicks; clicked keypoints are held."""
        clicks = [click.to_click() for click in request.clicks]
        return PosesResponse.of(await images.click(key, clicks, request.hold))

    @router.post("/v1/open/{key}/persons")
    async def add_person(key: Key, request: BoxBody) -> PosesResponse:
        """Add a person that the model missed."""
        return PosesResponse.of(await images.add_person(key, request.box_px))

    @router.delete("/v1/open/{key}/persons/{person}")
    async def remove_person(key: Key, person: Person) -> PosesResponse:
        """Remove a person; the numbers of later persons decrease by one."""
        return PosesResponse.of(await images.remove_person(key, person))

    @router.post("/v1/open/{key}/undo")
    async def undo(key: Key) -> PosesResponse:
        """Undo the last step."""
        return PosesResponse.of(await images.undo(key))


def build_upload_router(service: StatelessPoseService) -> APIRouter:
    """Return the route for uploads."""
    router = APIRouter()

    @router.post("/v1/uploads", openapi_extra=IMAGE_FILE)
    async def upload(request: Request) -> UploadedResponse:
        """Store an image file, and return the name that the other routes accept."""
        return UploadedResponse(image=await service.upload(await request.body()))

    return router
