"""Folders of images: what counts as a class and as an image, every kind of file, and what is left out."""

import os
import pickle
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

import minicnn as mc
from minicnn.data import DataLoader, ImageFolder, transforms
from minicnn.data.photos import read_rgb

rng = np.random.default_rng(0)


def picture(path, colour=(200, 10, 30), mode="RGB", size=(6, 4), **settings):
    """A file of one colour, 4 pixels high and 6 wide."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **settings)
    return path


@pytest.fixture
def folder(tmp_path):
    """Two cats and three dogs, each grey as its number times ten."""
    for number, name in enumerate(["cat/b.png", "cat/a.png", "dog/1.png", "dog/10.png", "dog/2.png"]):
        picture(tmp_path / "train" / name, (10 * number,) * 3)
    return tmp_path / "train"


def names(dataset):
    return [os.path.relpath(dataset.describe(i), dataset.folder) for i in range(len(dataset))]


def greys(dataset):
    return [int(image[0, 0, 0]) for image, _ in dataset]


def test_a_folder_for_each_class(folder):
    dataset = ImageFolder(folder)
    assert dataset.classes == ("cat", "dog")
    assert names(dataset) == ["cat/a.png", "cat/b.png", "dog/1.png", "dog/10.png", "dog/2.png"]
    assert greys(dataset) == [10, 0, 20, 30, 40]
    assert [label for _, label in dataset] == dataset.labels.tolist() == [0, 0, 1, 1, 1]
    assert len(dataset) == len(dataset.paths) == 5
    assert dataset.skipped == {}
    image, label = dataset[-1]
    assert (image.shape, image.dtype, type(label)) == ((4, 6, 3), np.uint8, int)
    image[:] = 0  # its owner may write
    assert dataset[4][0].any()


def test_the_class_in_the_name(tmp_path):
    """As Kaggle publishes Dogs vs. Cats."""
    for name in ("dog.1.jpg", "cat.10.jpg", "cat.2.JPG", "dog.0.jpg", "notes.txt", "other.jpg", ".cat.3.jpg"):
        picture(tmp_path / name, format="JPEG")
    dataset = ImageFolder(str(tmp_path))
    assert dataset.classes == ("cat", "dog")
    assert names(dataset) == ["cat.10.jpg", "cat.2.JPG", "dog.0.jpg", "dog.1.jpg"]
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert dataset.skipped == {
        "notes.txt": "by its name it is no image",
        "other.jpg": "its name is not of the form cat.0.jpg",
    }


def test_batches(folder):
    for x, labels in DataLoader(ImageFolder(folder), 5):
        assert x.shape == (5, 4, 6, 3)
        np.testing.assert_array_equal(x[:, 0, 0, 0], np.float32([10, 0, 20, 30, 40]) / np.float32(255))
        assert labels.tolist() == [0, 0, 1, 1, 1]


def test_it_can_be_sent_to_another_process(folder):
    assert greys(pickle.loads(pickle.dumps(ImageFolder(folder)))) == [10, 0, 20, 30, 40]


def test_folders_within_a_class_count_to_it(folder):
    picture(folder / "cat" / "tabby" / "0.png", (50,) * 3)
    assert names(ImageFolder(folder))[:3] == ["cat/a.png", "cat/b.png", "cat/tabby/0.png"]


def test_what_is_no_image_is_left_out_and_said(folder):
    picture(folder / "cat" / ".hidden.png")
    picture(folder / ".hidden" / "a.png")
    picture(folder / "loose.png")
    (folder / "cat" / "Thumbs.db").write_bytes(b"")
    (folder / "dog" / "README").write_text("woof")
    os.mkfifo(folder / "dog" / "pipe.png")
    dataset = ImageFolder(folder)
    assert len(dataset) == 5
    assert dataset.skipped == {
        "cat/Thumbs.db": "by its name it is no image",
        "dog/README": "by its name it is no image",
        "dog/pipe.png": "there is no file",
        "loose.png": "it lies beside the folders of the classes",
    }


def test_classes_of_the_user(folder):
    dataset = ImageFolder(folder, ["dog", "bird", "cat"])
    assert dataset.classes == ("dog", "bird", "cat")
    assert dataset.labels.tolist() == [0, 0, 0, 2, 2]
    assert greys(dataset) == [20, 30, 40, 10, 0]
    with pytest.raises(ValueError, match="dog not among the classes cat, bird"):
        ImageFolder(folder, ["cat", "bird"])
    for classes, fault in (
        ("ab", TypeError),
        ([0, 1], TypeError),
        (["cat", "cat", "dog"], ValueError),
        ([], ValueError),
    ):
        with pytest.raises(fault, match="ImageFolder expected"):
            ImageFolder(folder, classes)


def test_too_little(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match="absent: there is no such folder; name the one with"):
        ImageFolder(tmp_path / "absent")
    with pytest.raises(NotADirectoryError, match=r"a\.png is a file; ImageFolder expected the folder"):
        ImageFolder(folder / "cat" / "a.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: expected a folder of images for each of .* found none$"):
        ImageFolder(tmp_path / "empty")
    with pytest.raises(ValueError, match="no image of cat, dog there"):
        ImageFolder(tmp_path / "empty", ["cat", "dog"])
    with pytest.raises(ValueError, match=r"found none; left out: a\.png \(its name is not of the form cat\.0\.jpg\)"):
        ImageFolder(folder / "cat")
    (tmp_path / "empty").rmdir()
    with pytest.raises(ValueError, match=r"at least two classes.*found train"):
        ImageFolder(tmp_path)
    (folder / "__MACOSX").mkdir()
    with pytest.raises(ValueError, match="no image in __MACOSX; put some there, or take the folder away"):
        ImageFolder(folder)


@pytest.mark.parametrize("index", [5, -6])
def test_index_out_of_range(folder, index):
    dataset = ImageFolder(folder)
    for use in (dataset.describe, dataset.__getitem__):
        with pytest.raises(IndexError, match=f"there is no image {index} in a data set of 5"):
            use(index)
        with pytest.raises(TypeError, match="expected a whole number as index"):
            use("0")


@pytest.fixture
def many(tmp_path):
    """Thirty cats and ten dogs."""
    for name, count in (("cat", 30), ("dog", 10)):
        for number in range(count):
            picture(tmp_path / f"{name}.{number}.png", (number,) * 3)
    return ImageFolder(tmp_path)


@pytest.mark.parametrize(("share", "cats", "dogs"), [(0.8, 24, 8), (0.5, 15, 5), (0.03, 1, 0)])
def test_a_split_has_its_share_of_each_class(many, share, cats, dogs):
    train, test = many.split(share)
    assert np.bincount(train.labels, minlength=2).tolist() == [cats, dogs]
    assert sorted(train.paths + test.paths) == sorted(many.paths)
    assert not set(train.paths) & set(test.paths)
    assert train.classes == test.classes == ("cat", "dog")
    assert len(many) == 40
    for part in (train, test):
        for i in range(len(part)):
            name, number, _ = os.path.basename(part.describe(i)).split(".")
            image, label = part[i]
            assert image[0, 0].tolist() == [int(number)] * 3
            assert part.classes[label] == name


def test_a_split_is_drawn_and_repeats(many):
    train, _ = many.split(0.5)
    mc.seed(5)
    assert many.split(0.5)[0].paths == train.paths
    mc.seed(0)
    assert many.split(0.5, seed=1)[0].paths != train.paths
    assert train.paths[:15] != many.paths[:15]
    assert list(train.paths) == [path for path in many.paths if path in train.paths]


def test_a_share_that_is_no_number(many):
    with pytest.raises(TypeError, match=r"split expected share to be a number, got '0\.8'"):
        many.split("0.8")


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan"), 0.001])
def test_a_split_that_is_none(many, share):
    with pytest.raises(ValueError, match=f"split.* share .*{share}"):
        many.split(share)


# Links


def test_a_link_out_of_the_folder_is_not_followed_unasked(tmp_path, folder):
    secret = picture(tmp_path / "secret" / "a.png", (99,) * 3)
    (folder / "cat" / "link.png").symlink_to(secret)
    (folder / "dog" / "more").symlink_to(secret.parent)
    (folder / "zebra").symlink_to(secret.parent)
    (folder / "dog" / "gone.png").symlink_to(folder / "dog" / "nothing.png")
    (folder / "dog" / "same.png").symlink_to("1.png")
    out = "a link out of the folder; follow_links=True follows it"
    dataset = ImageFolder(folder)
    assert dataset.classes == ("cat", "dog")
    assert 99 not in greys(dataset)
    assert names(dataset)[-1] == "dog/same.png"
    assert dataset.skipped == {
        "cat/link.png": out, "dog/more": out, "zebra": out, "dog/gone.png": "there is no file"
    }  # fmt: skip
    dataset = ImageFolder(folder, follow_links=True)
    assert dataset.classes == ("cat", "dog", "zebra")
    assert greys(dataset).count(99) == 3
    assert dataset.skipped == {"dog/gone.png": "there is no file"}


def test_a_neighbour_whose_name_begins_alike_is_outside(tmp_path, folder):
    (folder / "cat" / "link.png").symlink_to(picture(tmp_path / "train-2" / "a.png"))
    assert "cat/link.png" in ImageFolder(folder).skipped


@pytest.mark.parametrize("follow", [False, True])
def test_links_in_a_circle_end(folder, follow):
    (folder / "cat" / "round").symlink_to(folder / "dog")
    (folder / "dog" / "round").symlink_to(folder / "cat")
    (folder / "cat" / "self").symlink_to(".")
    dataset = ImageFolder(folder, follow_links=follow)
    assert names(dataset)[:5] == ["cat/a.png", "cat/b.png", "cat/round/1.png", "cat/round/10.png", "cat/round/2.png"]
    assert len(dataset) == 10
    assert set(dataset.skipped.values()) == {"a link to a folder that it lies in"}


def test_the_folder_itself_may_be_a_link(tmp_path, folder):
    (tmp_path / "link").symlink_to(folder)
    assert len(ImageFolder(tmp_path / "link")) == 5


# Every kind of file


@pytest.mark.parametrize(
    ("name", "mode", "colour", "settings", "expected"),
    [
        ("a.jpg", "CMYK", (255, 0, 0, 0), {}, (0, 255, 255)),
        ("a.jpg", "L", 77, {}, (77, 77, 77)),
        ("a.png", "1", 1, {}, (255, 255, 255)),
        ("a.png", "I;16", 0x4D12, {}, (0x4D, 0x4D, 0x4D)),
        ("a.tif", "I;16", 0x4D12, {}, (0x4D, 0x4D, 0x4D)),
        ("a.png", "LA", (0, 0), {}, (255, 255, 255)),
        ("a.png", "RGBA", (0, 0, 0, 51), {}, (204, 204, 204)),
        ("a.gif", "P", 0, {"palette": bytes([1, 2, 3]) * 256}, (1, 2, 3)),
        ("a.gif", "P", 0, {"transparency": 0, "palette": bytes(768)}, (255, 255, 255)),
        ("a.png", "P", 0, {"transparency": b"\x33" * 256}, (204, 204, 204)),
        ("a.bmp", "RGB", (1, 2, 3), {}, (1, 2, 3)),
        ("a.tiff", "CMYK", (255, 0, 0, 0), {}, (0, 255, 255)),
        ("a.webp", "RGBA", (9, 8, 7, 0), {"lossless": True}, (255, 255, 255)),
        ("a.ppm", "RGB", (1, 2, 3), {}, (1, 2, 3)),
    ],
)
def test_every_kind_of_colour(folder, name, mode, colour, settings, expected):
    path = folder / "ant" / name
    path.parent.mkdir()
    image = Image.new(mode, (6, 4), colour)
    if "palette" in settings:
        image.putpalette(settings.pop("palette"))
    elif mode == "P":
        image.putpalette(bytes(768))
    image.save(path, **settings)
    pixels, label = ImageFolder(folder)[0]
    assert pixels.shape == (4, 6, 3)
    assert pixels.dtype == np.uint8
    assert label == 0
    np.testing.assert_allclose(pixels.astype(int), np.broadcast_to(expected, (4, 6, 3)), atol=1)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_of_an_animation_the_first_picture(folder, suffix):
    frames = [Image.new("RGB", (6, 4), (shade,) * 3) for shade in (250, 20, 130)]
    (folder / "ant").mkdir()
    frames[0].save(folder / "ant" / f"a.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    assert ImageFolder(folder)[0][0].min() > 240


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_a_photo_is_upright_however_the_camera_was_held(folder, orientation, suffix):
    """EXIF 2.3, tag 0x0112: which sides row 0 and column 0 of the stored image are, of the scene."""
    scene = np.zeros((16, 24, 3), np.uint8)
    scene[:8, :12] = 250  # bright in the upper left
    sides = [("top", "left"), ("top", "right"), ("bottom", "right"), ("bottom", "left"),
             ("left", "top"), ("right", "top"), ("right", "bottom"), ("left", "bottom")][orientation - 1]  # fmt: skip
    stored = scene if sides[0] in ("top", "bottom") else scene.transpose(1, 0, 2)
    stored = stored[::-1] if sides[0] in ("bottom", "right") else stored
    stored = stored[:, ::-1] if sides[1] in ("bottom", "right") else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    (folder / "ant").mkdir()
    Image.fromarray(np.ascontiguousarray(stored)).save(folder / "ant" / f"a.{suffix}", exif=exif)
    np.testing.assert_allclose(ImageFolder(folder)[0][0].astype(int), scene, atol=40)


def test_a_damaged_file_is_named_when_its_turn_comes(folder):
    path = folder / "cat" / "a.png"
    path.write_bytes(path.read_bytes()[:-30])
    dataset = ImageFolder(folder)
    assert dataset[1][1] == 0
    with pytest.raises(ValueError, match=r"cat/a\.png cannot be read as a photo: ") as caught:
        dataset[0]
    assert str(caught.value).startswith(dataset.describe(0))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"cat/a\.png"):
        dataset[0]


def test_damaged_files_may_be_skipped(folder):
    (folder / "cat" / "a.png").write_bytes(b"")
    (folder / "dog" / "2.png").write_bytes(b"<html>")
    Image.new("F", (6, 4)).save(folder / "dog" / "3.tiff")
    dataset = ImageFolder(folder, skip_damaged=True)
    assert names(dataset) == ["cat/b.png", "dog/1.png", "dog/10.png"]
    assert greys(dataset) == [0, 20, 30]
    assert dataset.skipped == {
        "cat/a.png": "is no image that Pillow can read",
        "dog/2.png": "is no image that Pillow can read",
        "dog/3.tiff": "cannot be read as a photo: its pixels are floats, and nobody knows which of them is white",
    }
    (folder / "cat" / "b.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"train: no image in cat can be read: cat/a\.png is no image"):
        ImageFolder(folder, skip_damaged=True)


def test_no_program_is_started_to_read_a_file(folder):
    """Pillow would give a file that is PostScript by its content to Ghostscript, whatever its name."""
    (folder / "ant").mkdir()
    (folder / "ant" / "a.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(ValueError, match=r"a\.jpg is no image that Pillow can read"):
        ImageFolder(folder)[0]


@pytest.mark.filterwarnings("error")
def test_threads_may_read_at_once_and_warnings_of_others_stay(folder):
    """Photos with a damaged EXIF block, of which Pillow warns."""
    path = picture(folder / "cat" / "c.jpg", size=(60, 40), exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0\x01")
    faults = []

    def read():
        try:
            for _ in range(20):
                assert read_rgb(str(path)).size == (60, 40)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    with pytest.raises(RuntimeWarning):
        warnings.warn("mine", RuntimeWarning, stacklevel=1)


# With the loader


@pytest.mark.parametrize("workers", [0, 3])
def test_photos_of_several_sizes_become_batches(folder, workers):
    pixels = rng.integers(256, size=(50, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "dog" / "3.png")
    loader = DataLoader(ImageFolder(folder), 4, transform=transforms.CenterCrop(4), workers=workers)
    batches = list(loader)
    assert [x.shape for x, _ in batches] == [(4, 4, 4, 3), (2, 4, 4, 3)]
    np.testing.assert_array_equal(batches[1][0][1], np.float32(pixels[23:27, 13:17]) / np.float32(255))
    assert [labels.tolist() for _, labels in batches] == [[0, 0, 1, 1], [1, 1]]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_says_which_photo_is_damaged(folder, workers):
    (folder / "dog" / "10.png").write_bytes(b"")
    with pytest.raises(RuntimeError, match=r"sample 3 \(.*dog/10\.png\).*is no image that Pillow can read"):
        list(DataLoader(ImageFolder(folder), 2, workers=workers))
