"""Numbers in memory that processes share: one writes them after the other."""

import os
import subprocess
import sys
import threading

from batchline.metrics import FAILURES, Histogram, own
from batchline.metrics.kinds import BOUNDS, Counter
from batchline.metrics.numbers import SEPARATOR, Numbers
from scripts import reference_pages


def in_a_child(numbers: Numbers, **changes: float) -> None:
    """Add in a process that is killed afterwards."""
    child = os.fork()
    if not child:
        for name, count in changes.items():
            numbers.add(name, count)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)


def test_a_process_counts_on_from_where_another_one_was_killed() -> None:
    numbers = Numbers()
    in_a_child(numbers, iris=2, seconds=0.5)
    in_a_child(numbers, größe=1, iris=3)
    assert numbers.read() == {("iris",): 5, ("seconds",): 0.5, ("größe",): 1}


def test_threads_lose_no_count() -> None:
    numbers = Numbers()

    def count() -> None:
        for number in range(2_000):
            numbers.add("all", 1, f"some{SEPARATOR}{number % 7}", 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    found = numbers.read()
    assert found["all",] == sum(value for key, value in found.items() if key[0] == "some") == 8_000


def test_memory_that_is_full_keeps_what_it_has() -> None:
    numbers = Numbers(size=4096)
    for model in range(1_000):
        numbers.add(f"items{SEPARATOR}model-{model}", 1)
    numbers.add(f"items{SEPARATOR}model-0", 1)
    found = numbers.read()
    assert 50 < len(found) < 1_000
    assert found["items", "model-0"] == 2


def test_a_child_does_not_write_to_the_numbers_of_its_parent() -> None:
    counter = Counter("test_children_total", "")
    counter.add()
    child = os.fork()
    if not child:
        counter.add(count=100)
        os._exit(0)
    os.waitpid(child, 0)
    assert own().read()["test_children_total",] == 1


def test_a_duration_is_counted_up_to_its_bound() -> None:
    histogram = Histogram("test_durations_seconds", "")
    for seconds in (0, BOUNDS[0], BOUNDS[0] + 1e-9, BOUNDS[-1] + 1):
        histogram.observe(seconds)
    found = own().read()
    counts = [found.get(key, 0) for key in histogram.buckets]
    assert (counts[0], counts[1], counts[-1], sum(counts)) == (2, 1, 1, 4)
    assert found[histogram.sum] == sum((*BOUNDS[:1], *BOUNDS[:1], 1e-9, BOUNDS[-1] + 1))


def test_no_process_imports_prometheus_client_before_it_is_asked() -> None:
    code = "import batchline.api.metrics_app, batchline.api.server, batchline.task.run, sys; "
    code += "print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_each_code_of_a_failure_is_shown_before_it_is_counted() -> None:
    assert set(FAILURES.known) == reference_pages.FAILURES.keys()
