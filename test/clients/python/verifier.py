"""A verifier written from the comments of `rpc Sync` alone: ADDRESS and TOKEN in the environment.

Reads lines of a secret and required scopes, and says the verdict of each, and whether it was in memory.
"""

import hashlib
import itertools
import os
import queue
import sys
import threading
import time

import grpc
from claviger.v1 import key_verifier_pb2 as pb
from claviger.v1 import key_verifier_pb2_grpc as rpc

E = 0.02
METADATA = [("authorization", "Bearer " + os.environ["TOKEN"])]


def counted_here(duration):
    return (duration.seconds + duration.nanos / 1e9) * (1 - E) / (1 + E)


class Span:
    """Is over as soon as either clock says so."""

    def __init__(self, since, seconds):
        self.since, self.seconds = since, seconds

    def is_over(self):
        now = clocks()
        return max(now[0] - self.since[0], now[1] - self.since[1]) >= self.seconds


def clocks():
    return time.monotonic(), time.time()


def place_of(secret):
    return hashlib.sha256(secret.encode()).digest()


class Verifier:
    def __init__(self, stub):
        self.lock = threading.RLock()
        self.outgoing = queue.Queue()
        self.lease = Span(clocks(), 0)
        self.has_lease = False
        self.entries, self.asked, self.counted = {}, {}, {}
        self.numbers = itertools.count(1)
        self.nonce = self.asked_at = None
        self.reported = threading.Event()
        self.stream = stub.Sync(iter(self.outgoing.get, None), metadata=METADATA)
        self.ask_for_lease()
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def ask_for_lease(self):
        with self.lock:
            self.nonce, self.asked_at = next(self.numbers), clocks()
            self.outgoing.put(pb.SyncRequest(lease=pb.LeaseRequest(nonce=self.nonce)))

    def listen(self):
        for said in self.stream:
            with self.lock:
                getattr(self, "hear_" + said.WhichOneof("message"))(getattr(said, said.WhichOneof("message")))

    def hear_lease(self, lease):
        seconds = counted_here(lease.remaining)
        again = threading.Timer(0.4 * seconds or 0.5, self.ask_for_lease)
        again.daemon = True
        again.start()
        if lease.nonce != self.nonce or seconds <= 0:
            return
        if not self.has_lease:
            self.entries.clear()
        self.has_lease, self.lease = True, Span(self.asked_at, seconds)

    def hear_change(self, change):
        gone = lambda key_id: change.all_keys or key_id in change.key_ids
        self.entries = {place: kept for place, kept in self.entries.items() if not gone(kept[0].key.id)}
        for question in self.asked.values():
            question["changes"].append(gone)
        self.outgoing.put(pb.SyncRequest(applied=pb.Applied(sequence=change.sequence)))

    def hear_answer(self, answer):
        question = self.asked.pop(answer.id)
        response, entry = answer.response, answer.entry
        is_stale = any(gone(response.key.id) for gone in question["changes"])
        if answer.HasField("entry") and question["may_keep"] and not is_stale:
            span = Span(question["since"], counted_here(entry.fresh_for))
            self.entries[question["place"]] = (response, entry, span)
        question["answer"].put(answer)

    def hear_usage(self, receipt):
        self.reported.set()

    def hear_closing(self, _):
        self.give_back()

    def verify(self, secret, scopes):
        with self.lock:
            kept = self.entries.get(place_of(secret))
            if kept and not self.lease.is_over() and not kept[2].is_over():
                return self.decide(kept, scopes), "memory"
            question = {"place": place_of(secret), "since": clocks(), "changes": [], "answer": queue.Queue()}
            question["may_keep"] = self.has_lease and not self.lease.is_over()
            number = next(self.numbers)
            self.asked[number] = question
            request = pb.VerifyRequest(secret=secret, required_scopes=scopes)
            self.outgoing.put(pb.SyncRequest(ask=pb.Ask(id=number, request=request)))
        return question["answer"].get(timeout=10).response.verdict, "asked"

    def decide(self, kept, scopes):
        response, entry, _ = kept
        verdict = entry.standing
        if verdict == pb.VERDICT_VALID and entry.allowed_cidrs:
            verdict = pb.VERDICT_ADDRESS_DENIED
        elif verdict == pb.VERDICT_VALID and not all(covered(scope, response.key.scopes) for scope in scopes):
            verdict = pb.VERDICT_SCOPE_MISSING
        name = (response.key.id, response.key.secret_version, verdict, int(time.time() // 60))
        count, _ = self.counted.get(name, (0, b""))
        self.counted[name] = (count + 1, entry.usage_proof)
        return verdict

    def report(self):
        report = pb.UsageReport(epoch=os.urandom(16).hex(), sequence=1)
        for (key_id, version, verdict, minute), (count, proof) in self.counted.items():
            cost = count if verdict == pb.VERDICT_VALID else 0
            delta = report.deltas.add(key_id=key_id, secret_version=version, verdict=verdict, count=count, cost=cost)
            delta.last_time.seconds = minute * 60
            delta.usage_proof = proof
        self.outgoing.put(pb.SyncRequest(usage=report))
        self.reported.wait(10)

    def give_back(self):
        self.lease = Span(clocks(), 0)
        self.outgoing.put(pb.SyncRequest(give_back=pb.GiveBack()))

    def close(self):
        if self.counted:
            self.report()
        self.give_back()
        # The server ends the stream.
        self.listener.join(10)
        self.outgoing.put(None)


def covered(scope, grants):
    return any(
        grant == scope
        or (grant == "*" and scope != "claviger" and not scope.startswith("claviger:"))
        or (grant.endswith(":*") and scope.startswith(grant[:-1]))
        for grant in grants
    )


with grpc.insecure_channel(os.environ["ADDRESS"]) as channel:
    verifier = Verifier(rpc.KeyVerifierStub(channel))
    while verifier.lease.is_over():
        time.sleep(0.01)
    print("attached", flush=True)
    for line in sys.stdin:
        secret, *scopes = line.split()
        verdict, source = verifier.verify(secret, scopes)
        print(pb.Verdict.Name(verdict), source, flush=True)
    verifier.close()
    print("closed", flush=True)
