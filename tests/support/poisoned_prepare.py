"""`singsong prepare` with small models, in a process of its own that a file named poison ends."""

import os
import signal
import sys
from typing import Any

import singsong.models.bundle
import singsong.transforms.encode_tracks
from singsong.commands import cli
from singsong.dataset.parts import TrackFacts
from singsong.schemas.elements import Track
from tests.support.fakes import fake_models

encode_track = singsong.transforms.encode_tracks.encode_track


def end_at_poison(track: Track, **settings: Any) -> TrackFacts:
    if "poison" in track.uri:
        os.kill(os.getpid(), signal.SIGSEGV)
    return encode_track(track, **settings)


if __name__ == "__main__":
    singsong.models.bundle.load_models = lambda recipe: fake_models()
    singsong.transforms.encode_tracks.load_models = lambda recipe: fake_models()
    if sys.argv[1] == "poisoned":
        singsong.transforms.encode_tracks.encode_track = end_at_poison
    sys.exit(cli.main(sys.argv[2:]))
