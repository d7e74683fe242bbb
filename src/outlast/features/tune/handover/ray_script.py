"""Runs train.py on the workers of a Ray cluster: `python ray_train.py --workers 8 --gpu`.

Each worker has to see this folder under the same path. Needs ray beside what train.py needs.
"""

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def work(config: Any = None) -> None:
    """What each worker does: Ray has set up the processes by now."""
    sys.path.insert(0, str(HERE))
    importlib.import_module("train").train(config)


def main() -> None:
    """Starts the workers, and waits for them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpu", action="store_true")
    asked = parser.parse_args()
    ray_train = importlib.import_module("ray.train")
    trainer = importlib.import_module("ray.train.torch").TorchTrainer(
        work,
        scaling_config=ray_train.ScalingConfig(num_workers=asked.workers, use_gpu=asked.gpu),
        run_config=ray_train.RunConfig(name="outlast-tune", storage_path=str(HERE / "ray")),
    )
    trainer.fit()


if __name__ == "__main__":
    main()
