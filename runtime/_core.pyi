from typing import Any

from numpy.typing import NDArray

Buffer = bytes | NDArray[Any]

FORMAT_MAJOR: int
VECTORS: list[str]
VECTORS_HERE: list[str]

class Fault(ValueError): ...

class Model:
    input_size: int
    classes: int
    image_size: int
    state_size: int
    arena_infer: int
    arena_learn: int
    identity: int
    ticket_size: int
    state: bytes
    vectors: str
    def __new__(cls, image: Buffer, vectors: str | None = None) -> Model: ...
    def predict_many(self, x: Buffer, scores: Buffer, labels: Buffer) -> None: ...
    def learn_many(self, x: Buffer, labels: Buffer, info: Buffer) -> None: ...
    def ticket_many(self, x: Buffer, tickets: Buffer) -> None: ...
    def predict_tickets(self, tickets: Buffer, scores: Buffer, labels: Buffer) -> None: ...
    def learn_tickets(self, tickets: Buffer, labels: Buffer, info: Buffer) -> None: ...
    def export(self) -> bytes: ...
