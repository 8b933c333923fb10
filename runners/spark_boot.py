"""Starts the Python worker of a Spark executor, without Docker: the command `singsong-worker`.

Spark's executor calls it with an id and the address of Beam's provision service. It asks there for
the other addresses and the pipeline's options, and becomes Beam's worker, as the program at the
entry point of Beam's containers does. It fetches no packages: what the pipeline needs is installed
beside it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from apache_beam.portability.api import (
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    endpoints_pb2,
)
from google.protobuf import json_format, text_format

WORKER_MODULE = "apache_beam.runners.worker.sdk_worker_main"
_ANSWER_WITHIN_S = 60.0
_ENDPOINTS = ("control_endpoint", "logging_endpoint", "status_endpoint")


class _WithWorkerId(grpc.UnaryUnaryClientInterceptor):
    """Adds the header that identifies the worker to the runner."""

    def __init__(self, worker_id: str) -> None:
        self._worker_id = worker_id

    def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Any], details: Any, request: Any
    ) -> Any:
        metadata = [*(details.metadata or ()), ("worker_id", self._worker_id)]
        return continuation(details._replace(metadata=metadata), request)


def ask_provision_service(address: str, *, worker_id: str) -> Any:
    """Returns Beam's `ProvisionInfo` for a worker.

    Raises:
        grpc.RpcError: The service does not answer.
    """
    with grpc.insecure_channel(address) as channel:
        stub = beam_provision_api_pb2_grpc.ProvisionServiceStub(
            grpc.intercept_channel(channel, _WithWorkerId(worker_id))
        )
        return stub.GetProvisionInfo(
            beam_provision_api_pb2.GetProvisionInfoRequest(),
            timeout=_ANSWER_WITHIN_S,
            wait_for_ready=True,
        ).info


def worker_environment(
    info: Any, *, worker_id: str, given: Mapping[str, str | None]
) -> dict[str, str]:
    """Returns what Beam's worker reads from its environment.

    Args:
        info: Beam's `ProvisionInfo`.
        worker_id: Id of the worker.
        given: Addresses from the command line, by name, for those that `info` lacks.

    Raises:
        ValueError: Neither names the address of the control service.
    """
    urls = {name: getattr(info, name).url or given.get(name) or "" for name in _ENDPOINTS}
    if not urls["control_endpoint"]:
        raise ValueError("control_endpoint is missing: the runner sent no address for it")
    return {
        "WORKER_ID": worker_id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
        **{
            f"{name.removesuffix('_endpoint').upper()}_API_SERVICE_DESCRIPTOR": _descriptor(url)
            for name, url in urls.items()
            if url
        },
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Becomes Beam's worker.

    Raises:
        ValueError: The runner sends no address for the control service.
        grpc.RpcError: The provision service does not answer.
    """
    parser = argparse.ArgumentParser(prog="singsong-worker", description=__doc__)
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    for name in _ENDPOINTS:
        parser.add_argument(f"--{name}")
    args, _ = parser.parse_known_args(argv)
    info = ask_provision_service(args.provision_endpoint, worker_id=args.id)
    environment = worker_environment(info, worker_id=args.id, given=vars(args))
    os.execve(sys.executable, [sys.executable, "-m", WORKER_MODULE], {**os.environ, **environment})


def _descriptor(url: str) -> str:
    return str(text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url)))


if __name__ == "__main__":
    main()
