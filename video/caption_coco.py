"""Captions of images, as COCO and Karpathy's splits of COCO and Flickr30K (arXiv 1412.2306) have them.

    captions_train2017.json     {"images": [{"id": 9, "file_name": "000000000009.jpg"}],
                                 "annotations": [{"image_id": 9, "caption": "..."}]}
    image_info_test2017.json    the same without annotations
    dataset_coco.json,          {"images": [{"filepath": "val2014", "filename": "COCO_val2014_...jpg",
    dataset_flickr30k.json                   "split": "restval", "sentences": [{"raw": "..."}]}]}

Karpathy's splits are train, val, test and, in COCO, restval: what is left of its validation images, which is
trained on too (`--split train,restval`).
"""

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from video.caption_lines import Line, short
from video.errors import InputError


def image_lines(values: Mapping[str, Any], path: Path) -> Iterator[Line]:
    """Lines of images, of either form; also a line for every image without captions.

    Raises:
        InputError: while they are taken: images or annotations that miss something, an annotation of no
            image, annotations that are no captions.
    """
    images = values["images"]
    if not isinstance(images, list) or not images:
        raise InputError(f"{path}: expected a list of images, found {short(images)}; restore the file")
    if isinstance(images[0], Mapping) and "filename" in images[0]:
        return (_split_image(image, path) for image in images)
    return _coco(images, values.get("annotations", ()), path)


def _coco(images: list[Any], annotations: Any, path: Path) -> Iterator[Line]:
    names: dict[Any, str] = {}
    for image in images:
        if not isinstance(image, Mapping) or "id" not in image or "file_name" not in image:
            raise InputError(
                f"{path}: expected images with an id and a file_name, found {short(image)}; correct it"
            )
        if image["id"] in names:
            raise InputError(f"{path}: expected every image once, found id {image['id']} twice; remove one")
        names[image["id"]] = str(image["file_name"])
    yield from ((name, (), "") for name in names.values())
    for annotation in annotations:
        yield names[_image_id(annotation, names, path)], (annotation["caption"],), ""


def _image_id(annotation: Any, names: Mapping[Any, str], path: Path) -> Any:
    """The image of an annotation, which is found to be a caption."""
    said = annotation.get("caption") if isinstance(annotation, Mapping) else None
    if isinstance(said, str) and annotation.get("image_id") in names:
        return annotation["image_id"]
    if isinstance(annotation, Mapping) and {"bbox", "segmentation", "segments_info"} & annotation.keys():
        raise InputError(
            f"{path}: expected captions, found the objects in images (bbox, segmentation); name COCO's "
            "captions_*.json instead, which lies beside it"
        )
    if not isinstance(said, str):
        raise InputError(
            f"{path}: expected annotations with an image_id and a caption, found {short(annotation)}; "
            "correct it"
        )
    raise InputError(
        f"{path}: expected captions of its own images, found one of image_id "
        f"{annotation.get('image_id')!r}, which is not among its {len(names)} images; add the image or "
        "remove the caption"
    )


def _split_image(image: Any, path: Path) -> Line:
    """An image of Karpathy's, with its folder, split and sentences."""
    sentences = image.get("sentences") if isinstance(image, Mapping) else None
    texts = [one.get("raw") if isinstance(one, Mapping) else None for one in sentences or ()]
    if (
        not isinstance(image, Mapping)
        or not isinstance(image.get("filename"), str)
        or sentences is None
        or not all(isinstance(text, str) for text in texts)
    ):
        raise InputError(
            f"{path}: expected images with a filename and sentences with their raw text, found "
            f"{short(image)}; correct it"
        )
    name = posixpath.join(str(image.get("filepath", "")), image["filename"])
    return name, [str(text) for text in texts], str(image.get("split", ""))
