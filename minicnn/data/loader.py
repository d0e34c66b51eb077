"""From a data set to batches: the order, and who makes the batches when."""

from collections.abc import Iterator

import numpy as np

from minicnn import _random
from minicnn.data import loader_checks as checks
from minicnn.data.batch import Augmentation, BatchTransform, Dataset, Recipe
from minicnn.data.prefetch import by_threads
from minicnn.nn.checks import flag


class DataLoader:
    """Draws a data set in batches, once for each iteration: `for x, labels in loader`.

    dataset: an ArrayDataset, or anything with `len` and `dataset[i] -> (image, label)`; images (H, W, C), of one size
        unless the transform makes them so.
    batch_size: how many samples a batch has; the last one has the remainder.
    shuffle: whether each epoch has an order of its own.
    transform: a Transform (see `data.transforms`), which gets whole batches, or, where the samples differ in size or it
        is `alone`, as with a function among its steps, each sample alone: the pixels are the same. Or a function,
        called as transform(image, rng) with a copy of each image as the data set has it (uint8 of 0 to 255, say), and a
        NumPy generator of its own; it returns an image of the same dtype, of a size that is the same for all images of
        a batch.
    drop_last: whether a last batch that is not full is left out.
    batch_transform: called as batch_transform(x, labels, rng) with what would else be the batch; returns x (n, H, W, C)
        float32, and targets: labels (n,), or (n, K) float32, the probabilities of K classes for each image (mixup).
    workers: how many threads make batches ahead while the caller computes; with 0 a batch is made when it is asked for.
        The batches are the same, bit for bit. With more than one worker, `dataset[i]` and the transforms are called by
        several threads at once.
    prefetch: how many batches each worker is ahead at most.

    Yields x (n, H, W, C) float32, made by `to_input`, and labels (n,) int64, as fresh arrays.
    `len(loader)` is the number of batches.

    `loader.epoch` is the number of the next iteration, 0 at first; beginning an iteration adds one. With M samples, and
    `seed` the one in force when the loader was made (`minicnn.seed`), every number that is drawn belongs to a stream of
    its own:

        order  = a permutation of 0 to M - 1, from the stream (seed, SHUFFLE, epoch); without shuffle 0 to M - 1
        batch b is made of the samples order[b * batch_size : (b + 1) * batch_size]
        rng of a function that changes sample i:  the stream (seed, AUGMENTATION, epoch, i)
        numbers of a Transform for sample i:      transforms.Draws(seed, epoch, [i])
        rng of batch_transform for batch b:       the stream (seed, BATCH, epoch, b)

    Nothing depends on anything else, so that iterations may overlap, setting `epoch` resumes, and `batches(epoch, b)`
    goes on in the middle of an epoch without making what came before.

    Workers are threads, not processes: benchmarks/bench_loader.py has both. Where Python does little, as with arrays
    in memory and the transforms of `data.transforms`, one thread keeps up with LeNet-5, while processes have to be
    started for each epoch, and leave every batch in memory that they share. Pillow decodes without Python's lock, so
    that two threads do most of what two processes do. Only a transform that loops in Python itself runs faster in
    processes: threads take turns at that, also with the training step. Its cure is a Transform that works on whole
    batches. Threads see the same data set and take any function, and nothing is left of them, even by a program that is
    killed. They end with the iteration, however it ends: at its end, by `break`, by an exception in the loop or by
    Ctrl-C, after the batches that they are at.

    Raises TypeError and ValueError for a wrong argument, for an empty data set, and where drop_last would leave no
    batch; and during an iteration, naming the sample, for one that cannot go into the batch. What a data set or a
    transform raises is the cause of a RuntimeError that names the sample, by its number and by `dataset.describe(i)`,
    where there is one.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        shuffle: bool = False,
        transform: Augmentation | None = None,
        drop_last: bool = False,
        batch_transform: BatchTransform | None = None,
        workers: int = 0,
        prefetch: int = 2,
    ) -> None:
        checks.dataset(dataset)
        checks.function(transform, "transform", "a Transform or a function of (image, rng)")
        checks.function(batch_transform, "batch_transform", "a function of (x, labels, rng)")
        self.dataset = dataset
        self.batch_size = checks.whole(batch_size, "batch_size", 1)
        self.shuffle = flag(shuffle, "DataLoader", "shuffle")
        self.transform = transform
        self.drop_last = flag(drop_last, "DataLoader", "drop_last")
        self.batch_transform = batch_transform
        self.workers = checks.whole(workers, "workers", 0, checks.MOST_WORKERS)
        self.prefetch = checks.whole(prefetch, "prefetch", 1)
        if drop_last:
            checks.full_batch(len(dataset), self.batch_size)
        self.seed = _random.current_seed()
        self.epoch = 0

    def __len__(self) -> int:
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        # Not a generator itself, so that the epoch moves on now and not at the first batch; what the iteration then
        # needs it has as arguments, and a second one that begins meanwhile changes none of it.
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self.batches(epoch)

    def batches(
        self, epoch: int, start: int = 0, part: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of an epoch, from number `start` on; those before are not made. `loader.epoch` stays as it is.

        part: (rank, size) yields of each batch the part that rank 0, 1, ..., size - 1 computes, see `_part.bounds`. A
        small last batch may have none for the last ranks: x (0, H, W, C). The samples are what they are in the whole
        batch, and only those of the part are made, unless there is a batch_transform, which sees the whole batch.
        """
        epoch = checks.whole(epoch, "epoch", 0)
        start = checks.whole(start, "start", 0, len(self))
        recipe = Recipe(self.dataset, self.transform, self.batch_transform, self.seed, checks.part(part))
        numbered = list(enumerate(self.indices(epoch)))[start:]
        jobs = ((epoch, number, indices) for number, indices in numbered)
        if self.workers == 0:
            return (recipe.batch(*job) for job in jobs)
        return by_threads(recipe.batch, jobs, self.workers, self.workers * self.prefetch)

    def indices(self, epoch: int) -> list[np.ndarray]:
        """For each batch of an epoch the numbers (n,) of its samples, in order."""
        order = np.arange(len(self.dataset))
        if self.shuffle:
            order = _random.generator(self.seed, _random.SHUFFLE, epoch).permutation(order)
        return [order[batch * self.batch_size : (batch + 1) * self.batch_size] for batch in range(len(self))]
