"""Attacks: what people do to a photograph that was paid once to have it paid again. By group and name."""

import io
import math
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageEnhance, ImageOps

Attack = Callable[[Image.Image], Image.Image]
Colour = tuple[int, int, int]

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def recode(kind: str, quality: int) -> Attack:
    def attack(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, kind, quality=quality)
        return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")

    return attack


def resize(x: float, y: float) -> Attack:
    return lambda image: image.resize((round(image.width * x), round(image.height * y)))


def gamma(exponent: float) -> Attack:
    return lambda image: image.convert("RGB").point(lambda level: round(255 * (level / 255) ** exponent))


def enhance(what: Callable[[Image.Image], ImageEnhance._Enhance], factor: float) -> Attack:
    return lambda image: what(image.convert("RGB")).enhance(factor)


def crop(share: float, *, corner: bool = False) -> Attack:
    """Take the share off the width and off the height: half from each side, or all from right and below."""

    def attack(image: Image.Image) -> Image.Image:
        x, y = round(image.width * share), round(image.height * share)
        left, top = (0, 0) if corner else (x // 2, y // 2)
        return image.crop((left, top, left + image.width - x, top + image.height - y))

    return attack


def rotate(degrees: float) -> Attack:
    """Turn and crop the empty corners away."""

    def attack(image: Image.Image) -> Image.Image:
        turned = image.convert("RGB").rotate(degrees, Image.Resampling.BICUBIC)
        width, height = image.size
        sine, cosine = abs(math.sin(math.radians(degrees))), math.cos(math.radians(degrees))
        scale = min(width / (width * cosine + height * sine), height / (height * cosine + width * sine))
        w, h = int(width * scale), int(height * scale)
        left, top = (width - w) // 2, (height - h) // 2
        return turned.crop((left, top, left + w, top + h))

    return attack


def turn(way: Image.Transpose) -> Attack:
    return lambda image: image.transpose(way)


def border(share: float, colour: Colour) -> Attack:
    return lambda image: ImageOps.expand(image.convert("RGB"), round(max(image.size) * share), colour)


def letterbox(image: Image.Image) -> Image.Image:
    framed = Image.new("RGB", (image.width, round(image.height * 1.4)), BLACK)
    framed.paste(image, (0, round(image.height * 0.2)))
    return framed


def watermark(image: Image.Image) -> Image.Image:
    marked = image.convert("RGB")
    ImageDraw.Draw(marked).text(
        (image.width * 0.1, image.height * 0.45),
        "SAMPLE PHOTO 2026",
        fill=WHITE,
        font_size=max(12, image.width // 14),
        stroke_width=1,
        stroke_fill=BLACK,
    )
    return marked


def screenshot(paper: Colour, ink: Colour) -> Attack:
    """The photograph in an app on a phone: status bar, title, caption and buttons around it."""

    def attack(image: Image.Image) -> Image.Image:
        photo = image.convert("RGB").resize((720, round(image.height * 720 / image.width)))
        height = max(1560, photo.height + 500)
        screen = Image.new("RGB", (720, height), paper)
        draw = ImageDraw.Draw(screen)
        draw.text((20, 12), "12:41", fill=ink, font_size=26)
        draw.rectangle((640, 14, 700, 36), outline=ink, width=3)
        draw.text((30, 90), "Neighbourhood photos", fill=ink, font_size=40)
        top = 170 + (height - 500 - photo.height) // 3
        screen.paste(photo, (0, top))
        draw.text((30, top + photo.height + 30), "What a lovely evening it was, look at this", fill=ink, font_size=30)
        for x in range(60, 720, 170):
            draw.ellipse((x, height - 100, x + 50, height - 50), outline=ink, width=4)
        return recode("JPEG", 85)(screen)

    return attack


def both(first: Attack, second: Attack) -> Attack:
    return lambda image: second(first(image))


ATTACKS: dict[str, dict[str, Attack]] = {
    "recode": {
        "jpeg 30": recode("JPEG", 30),
        "webp 50": recode("WEBP", 50),
        "half": resize(0.5, 0.5),
        "quarter": resize(0.25, 0.25),
        "double": resize(2, 2),
        "stretch": resize(1.1, 1),
    },
    "tone": {
        "darker": enhance(ImageEnhance.Brightness, 0.6),
        "brighter": enhance(ImageEnhance.Brightness, 1.5),
        "contrast": enhance(ImageEnhance.Contrast, 1.5),
        "gamma 0.6": gamma(0.6),
        "gamma 1.6": gamma(1.6),
        "grey": lambda image: image.convert("L"),
        "equalize": lambda image: ImageOps.equalize(image.convert("RGB")),
    },
    "mark": {
        "watermark": watermark,
        "border 3 %": border(0.03, WHITE),
        "border 8 %": border(0.08, BLACK),
        "letterbox": letterbox,
    },
    "crop 2": {"centre": crop(0.02), "corner": crop(0.02, corner=True)},
    "crop 5": {"centre": crop(0.05), "corner": crop(0.05, corner=True)},
    "crop 10": {"centre": crop(0.10), "corner": crop(0.10, corner=True)},
    "crop 25": {"centre": crop(0.25), "corner": crop(0.25, corner=True)},
    "rotate 1-3": {"1": rotate(1), "3": rotate(-3)},
    "rotate 5-10": {"5": rotate(5), "10": rotate(-10)},
    "mirror, 90": {way.name.lower(): both(turn(way), recode("JPEG", 80)) for way in Image.Transpose},
    "screen": {"light": screenshot(WHITE, (20, 20, 20)), "dark": screenshot(BLACK, (230, 230, 230))},
    "combo": {
        "mirror, crop 5, jpeg 50": both(both(turn(Image.Transpose.FLIP_LEFT_RIGHT), crop(0.05)), recode("JPEG", 50)),
        "rotate 2, brighter": both(rotate(2), gamma(0.7)),
        "crop 5, screenshot": both(crop(0.05), screenshot(WHITE, (20, 20, 20))),
    },
}
