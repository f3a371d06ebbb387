"""What travels: responses, events, score rows, dead letters, their keys and their topics. Pure values, no I/O."""

from schemas.dead_letters import Reason
from schemas.events import PassiveDetected, PassiveWithdrawn, ScoreChanged
from schemas.response import Rejected, SurveyResponse, accept
from schemas.scores import ScoreRow
from schemas.topics import Topics

__all__ = [
    "PassiveDetected",
    "PassiveWithdrawn",
    "Reason",
    "Rejected",
    "ScoreChanged",
    "ScoreRow",
    "SurveyResponse",
    "Topics",
    "accept",
]
