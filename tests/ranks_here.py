"""Ranks that are threads of one process, so that what they do together can be tested without MPI."""

import queue
import threading


class Ended(BaseException):
    """All ranks were ended, as MPI does it to processes."""


class Comm:
    """As much of a communicator as `convkit.distributed.Ranks` uses."""

    def __init__(self, rank, size, world):
        self.rank, self.size, self._world = rank, size, world

    def Dup(self):
        return self

    def allgather(self, value):
        self._world.values[self.rank] = value
        self._world.barrier.wait()
        values = list(self._world.values)
        self._world.barrier.wait()
        return values

    def Abort(self, status):
        self._world.ended.set()
        self._world.barrier.abort()
        raise Ended(status)

    def Isend(self, array, dest):
        assert array.flags.c_contiguous and dest != self.rank
        self._world.posts[self.rank, dest].put(array.copy())
        return Request(lambda: None)

    def Irecv(self, array, source):
        def receive():
            while not self._world.ended.is_set():
                try:
                    array[:] = self._world.posts[source, self.rank].get(timeout=0.02)
                    return
                except queue.Empty:
                    pass
            raise Ended

        return Request(receive)


class Request:
    """What is not waited for has not come."""

    def __init__(self, finish):
        self.finish = finish

    @classmethod
    def Waitall(cls, requests):
        for request in requests:
            request.finish()


def on_ranks(size, job):
    """What ``job(comm)`` returns on each of so many ranks, threads named "rank 0"...; or the first error of one."""

    class World:
        barrier = threading.Barrier(size, timeout=20)
        ended = threading.Event()
        values = [None] * size
        posts = {(a, b): queue.Queue() for a in range(size) for b in range(size)}

    results, errors = [None] * size, []

    def run(rank):
        try:
            results[rank] = job(Comm(rank, size, World))
        except BaseException as error:
            errors.append(error)
            World.ended.set()
            World.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,), name=f"rank {rank}") for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
