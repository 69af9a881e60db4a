"""What travels between sites and server: places, the plan made of them, messages, their bytes and their mean."""

from .gradients import distance as distance, inner as inner
from .messages import ContractError as ContractError, Memory as Memory, Message as Message, Value as Value
from .places import Place as Place, leaves as leaves, places as places
from .plan import Plan as Plan, VectorLayout as VectorLayout
