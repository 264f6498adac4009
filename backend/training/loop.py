"""The training loop, on accelerate: any number of processes, exact resume, cancel between steps.

Nothing random is left to the loop: samples and their chance follow from seed and number (``order``), so the
state is weights, optimisers and the number of steps. On a processor a resumed run gives the same bits as one
that was never stopped; N processes give one process's gradients but for the order of sums.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from backend.errors import BadInput, Cancelled, LikenessError
from backend.training.checkpoints import checkpoints, load_checkpoint, save_checkpoint
from backend.training.diary import Diary
from backend.training.order import Order, numbers_of
from backend.training.recipe import Optimisation, Recipe
from backend.training.task import Sample, Task, collate, trained_state

_READERS = 2  # threads that decode the next step's samples


@dataclass(frozen=True)
class Told:
    """What the loop says of a finished step."""

    step: int
    steps: int
    loss: float
    seconds_left: float
    seconds_per_step: float


def _silent(told: Told) -> None:
    return None


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Watch:
    """How somebody follows a training and stops it."""

    on_step: Callable[[Told], None] = _silent
    is_cancelled: Callable[[], bool] = _never


def make_accelerator(optimisation: Optimisation, cpu: bool = False) -> Accelerator:
    """Processes and device as ``torchrun`` or ``accelerate launch`` set them up.

    bf16 is used where the recipe asks for it and a CUDA device has it; else float32.
    Raises: BadInput when the batch cannot be shared among the processes.
    """
    wanted = optimisation.precision == "bf16" and not cpu
    has = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    accelerator = Accelerator(cpu=cpu, mixed_precision="bf16" if wanted and has else "no")
    share = optimisation.microbatch * accelerator.num_processes
    if optimisation.batch % share:
        raise BadInput(
            f"a batch of {optimisation.batch} cannot be shared among {accelerator.num_processes} processes "
            f"with microbatches of {optimisation.microbatch}; make batch a multiple of {share}"
        )
    return accelerator


def train(task: Task, recipe: Recipe, out: Path, accelerator: Accelerator, watch: Watch | None = None) -> int:
    """Train ``task`` from its newest checkpoint in ``out`` to the recipe's end; returns the steps made here.

    ``out`` exists. At the end ``task.write`` has filled ``out/result``.
    Raises: Cancelled after a checkpoint; BadInput when the loss is no number or a checkpoint does not fit.
    """
    return _Run(task, recipe, out, accelerator, watch or Watch()).to_the_end()


class _Run:
    def __init__(self, task: Task, recipe: Recipe, out: Path, accelerator: Accelerator, watch: Watch) -> None:
        self.task, self.recipe, self.out, self.accelerator, self.watch = task, recipe, out, accelerator, watch
        optimisation = recipe.optimisation
        self.optimisers = {
            player.name: torch.optim.AdamW(
                [p for p in player.objective.parameters() if p.requires_grad],
                lr=optimisation.learning_rate,
                betas=optimisation.betas,
                weight_decay=optimisation.weight_decay,
            )
            for player in task.players
        }
        self.steps = optimisation.steps_for(len(task))
        self.done = self._restore()
        for player in task.players:
            player.objective.to(accelerator.device)
        self.prepared = {p.name: accelerator.prepare_model(p.objective) for p in task.players}
        for optimiser in self.optimisers.values():
            _move(optimiser, accelerator.device)

    def to_the_end(self) -> int:
        steps = self.steps
        first, keeping = self.done, self.recipe.keeping
        diary = Diary(self.out, self.done) if self.accelerator.is_main_process else None
        try:
            if first == 0:
                self._draw(diary)
            started = time.monotonic()
            for batches in self._batches(first, steps):
                values = self._step(batches)
                self.done += 1
                last = self.done == steps
                cancelled = self._anybody_cancels()
                if self.done % keeping.log_every == 0 or last:
                    self._tell(diary, values)
                if self.done % keeping.checkpoint_every == 0 or last or cancelled:
                    self._save()
                if cancelled and not last:
                    raise Cancelled(f"stopped after step {self.done} of {steps}; --resume goes on from there")
                if self.done % keeping.sample_every == 0 or last:
                    self._draw(diary)
                each = (time.monotonic() - started) / (self.done - first)
                loss = values["loss"]
                self.watch.on_step(Told(self.done, steps, loss, each * (steps - self.done), each))
            if self.accelerator.is_main_process:
                result = self.out / "result"
                result.mkdir(exist_ok=True)
                self.task.write(result)
            self.accelerator.wait_for_everyone()
        finally:
            if diary is not None:
                diary.close()
        return self.done - first

    def _step(self, batches: Sequence[dict[str, Tensor]]) -> dict[str, float]:
        """One optimiser step of every player; mean terms over the whole batch."""
        optimisation = self.recipe.optimisation
        self.task.begin(self.done)
        told: dict[str, Tensor] = {}
        for player in self.task.players:
            model, optimiser = self.prepared[player.name], self.optimisers[player.name]
            optimiser.zero_grad(set_to_none=True)
            for k, batch in enumerate(batches):
                last = k == len(batches) - 1
                with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                    loss, terms = model(batch)
                    self.accelerator.backward(loss / len(batches))
                prefix = "" if len(self.task.players) == 1 else f"{player.name}/"
                for name, value in {"loss": loss, **terms}.items():
                    part = value.detach().float() / len(batches)
                    told[prefix + name] = told.get(prefix + name, torch.zeros_like(part)) + part
            norm = torch.nn.utils.clip_grad_norm_(
                [p for group in optimiser.param_groups for p in group["params"]], optimisation.clip
            )
            told[f"{player.name}/gradient_norm"] = norm.detach().float()
            for group in optimiser.param_groups:
                group["lr"] = rate(optimisation, self.done, self.steps)
            optimiser.step()
        self.task.after_step()
        means = self.accelerator.reduce(torch.stack(list(told.values())), "mean")
        values = dict(zip(told, means.tolist(), strict=True))
        values.setdefault("loss", sum(v for name, v in values.items() if name.endswith("/loss")))
        if not all(math.isfinite(value) for value in values.values()):
            newest = checkpoints(self.out)
            back = f"the checkpoint '{newest[-1].name}' is whole" if newest else "there is no checkpoint yet"
            raise BadInput(
                f"the loss is no number at step {self.done + 1}; lower learning_rate in the recipe ({back})"
            )
        return values

    def _batches(self, first: int, steps: int) -> Iterator[list[dict[str, Tensor]]]:
        """Each step's microbatches on the device; the next step's are decoded meanwhile."""
        optimisation, device = self.recipe.optimisation, self.accelerator.device
        order = Order(self.recipe.seed, len(self.task))

        def ask(pool: ThreadPoolExecutor, step: int) -> list[list[Future[Sample]]]:
            parts = numbers_of(
                step,
                optimisation.batch,
                optimisation.microbatch,
                self.accelerator.process_index,
                self.accelerator.num_processes,
            )
            return [[pool.submit(self.task.sample, order.record(n), n) for n in part] for part in parts]

        with ThreadPoolExecutor(_READERS) as pool:
            coming = ask(pool, first) if first < steps else []
            try:
                for step in range(first, steps):
                    here, coming = coming, ask(pool, step + 1) if step + 1 < steps else []
                    batches = [collate([one.result() for one in part]) for part in here]
                    yield [{name: t.to(device) for name, t in batch.items()} for batch in batches]
            finally:
                for part in coming:
                    for one in part:
                        one.cancel()

    def _anybody_cancels(self) -> bool:
        mine = torch.tensor(float(self.watch.is_cancelled()), device=self.accelerator.device)
        return bool(self.accelerator.reduce(mine, "sum") > 0)

    def _tell(self, diary: Diary | None, values: dict[str, float]) -> None:
        if diary is not None:
            diary.numbers(
                self.done, {**values, "rate": rate(self.recipe.optimisation, self.done - 1, self.steps)}
            )

    def _draw(self, diary: Diary | None) -> None:
        if diary is not None:
            diary.picture(self.done, self.task.picture())
        self.accelerator.wait_for_everyone()

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            weights = {p.name: trained_state(p.objective) for p in self.task.players}
            states = {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}
            save_checkpoint(self.out, self.done, weights, states, self.recipe.keeping.checkpoints)
        self.accelerator.wait_for_everyone()

    def _restore(self) -> int:
        found = checkpoints(self.out)
        if not found:
            return 0
        step, weights, optimisers = load_checkpoint(found[-1])
        try:
            for player in self.task.players:
                wanted, held = trained_state(player.objective).keys(), weights[player.name]
                if wanted != held.keys():
                    raise BadInput(f"it holds other weights ({sorted(wanted ^ held.keys())[0]})")
                player.objective.load_state_dict(held, strict=False)
                self.optimisers[player.name].load_state_dict(optimisers[player.name])
        except (KeyError, RuntimeError, ValueError, LikenessError) as error:
            reason = " ".join(str(error).split())
            raise BadInput(f"the checkpoint '{found[-1]}' does not fit this recipe: {reason}") from error
        return step


def rate(optimisation: Optimisation, step: int, steps: int) -> float:
    """The learning rate of step number ``step`` of ``steps``, from 0: up in a line, then down in one."""
    warm = optimisation.warmup_steps
    up = min(1.0, (step + 1) / (warm + 1))
    gone = max(0, step - warm) / max(1, steps - 1 - warm)
    return optimisation.learning_rate * up * (1 - gone * (1 - optimisation.rate_at_end))


def _move(optimiser: torch.optim.Optimizer, device: torch.device) -> None:
    """A restored optimiser's moments to where its parameters are; the step count stays where it is."""
    for state in optimiser.state.values():
        for name, value in state.items():
            if isinstance(value, Tensor) and name != "step":
                state[name] = value.to(device)
