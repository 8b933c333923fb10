# syntax=docker/dockerfile:1
# The image of a worker, with a GPU or without, for Dataflow and for every other runner that starts
# Beam's SDK containers. `make image` builds it and adds the labels that a launch checks.
#
# The wheel of torch brings CUDA's libraries at the versions that it was built for, so that the base
# is a plain Python: a CUDA base would hold them twice. The driver is the machine's.
ARG BASE=python:3.11.14-slim-bookworm
ARG BEAM=2.77.0

FROM apache/beam_python3.11_sdk:${BEAM} AS beam

# `--build-context weights=FOLDER` takes the place of this stage.
FROM scratch AS weights
COPY LICENSE /

FROM ${BASE}

# Beam shall use the Python of the image, where everything is, and not make an environment first.
ENV RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/nvidia/lib64 \
    HF_HOME=/opt/singsong/hub \
    TORCH_HOME=/opt/singsong/hub/torch

ARG UV=0.13.9
RUN pip install --no-cache-dir uv==${UV}

# What the package needs, in a layer that changes only with these three files.
WORKDIR /opt/singsong/source
COPY setup.py pyproject.toml requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    UV_LINK_MODE=copy uv pip install --system --constraints requirements.lock ".[s3]"

COPY . .
RUN uv pip install --system --no-cache --no-deps --reinstall-package singsong .

# Loads each model once: its weights are then in the image, and the labels name them by content.
# Files in /opt/singsong/weights can be named in MODELS.
COPY --from=weights / /opt/singsong/weights/
ARG MODELS=""
WORKDIR /opt/singsong
# hadolint ignore=SC2086
RUN python -m singsong.runners.image_labels ${MODELS} > labels

COPY --from=beam /opt/apache/beam /opt/apache/beam
RUN useradd --create-home --uid 1000 singsong
# The boot program writes the options of the job to the folder where it starts.
WORKDIR /home/singsong
USER 1000:1000
ENV HF_HUB_OFFLINE=1

ENTRYPOINT ["/opt/apache/beam/boot"]
