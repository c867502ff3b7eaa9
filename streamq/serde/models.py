"""JSON of pydantic models, by pydantic itself. Imported only when a model class is given."""

from __future__ import annotations

import pydantic

from streamq.serde.annotations import accepts_none, is_model, type_name
from streamq.serde.base import Annotation, Part, UserValue, no_tombstone, reason_of, shown, undecodable, unencodable


class ModelSerde:
    """JSON of a pydantic model by `model_dump_json` and `model_validate_json`; of a container or union of models by a
    `TypeAdapter`. Aliases are what stands in the JSON, in both directions.

    A model is validated by pydantic when it is made, so encoding checks only that nothing was put in afterwards that
    is not of its field's type.
    """

    name = "json"

    def __init__(self, value_type: Annotation, *, part: Part = "value") -> None:
        self._type_name = type_name(value_type)
        self._part = part
        self._none_allowed = accepts_none(value_type)
        self._model = value_type if is_model(value_type) else None
        if self._model is not None:
            self._validate = self._model.model_validate_json
        else:
            self._adapter = pydantic.TypeAdapter(value_type)
            self._validate = self._adapter.validate_json

    def encode(self, value: UserValue, *, topic: str) -> bytes | None:
        """The value as JSON; None as a tombstone, where the type allows None.

        Raises:
            SerdeError: the value is not of the type; the message names the field and its value.
        """
        if value is None:
            if self._none_allowed:
                return None
            raise no_tombstone(topic, self._part, self._type_name)
        try:
            return self._dump(value)
        except Exception as error:
            # Serializers of the user's model run here.
            raise self._refusal(value, reason_of(error), topic) from error

    def _dump(self, value: UserValue) -> bytes:
        if self._model is None:
            return self._adapter.dump_json(value, by_alias=True, warnings="error")
        if not isinstance(value, self._model):
            raise TypeError(f"it is of type {type(value).__name__}")
        text: str = value.model_dump_json(by_alias=True, warnings="error")
        return text.encode()

    def decode(self, data: bytes, *, topic: str) -> UserValue:
        """The model of JSON text.

        Raises:
            SerdeError: no JSON, or not the model's; the message names the fields.
        """
        try:
            return self._validate(data)
        except pydantic.ValidationError as error:
            raise self._undecodable(_listed(error), data, topic) from error
        except Exception as error:
            # Validators of the user's model run here.
            raise self._undecodable(f"{type(error).__name__}: {reason_of(error)}", data, topic) from error

    def _undecodable(self, reason: str, data: bytes, topic: str) -> Exception:
        return undecodable(topic, self._part, f"valid JSON for {self._type_name}", reason, data)

    def _refusal(self, value: object, reason: str, topic: str) -> Exception:
        problem = f"{self._part} is {shown(value)}: {reason}"
        return unencodable(topic, self._part, problem, f"pass a value of type {self._type_name}")


def _listed(error: pydantic.ValidationError) -> str:
    """All complaints in one line: what, and at which field; not the input, which may be anything."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    places = [".".join(str(step) for step in problem["loc"]) for problem in problems]
    texts = [
        f"{problem['msg']} - at `{place}`" if place else problem["msg"]
        for problem, place in zip(problems, places, strict=True)
    ]
    return reason_of(ValueError("; ".join(texts)))
