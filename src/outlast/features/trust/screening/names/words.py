"""Words in names of organisations that tell little or nothing of which one is meant."""

from collections.abc import Mapping
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOCK: Final = _words(
    "aat ab ad ag akb aktiebolag aktiengesellschaft ao as asa berhad bhd cb cjsc hf inc "
    "incorporated jcsb jsc jscb kgaa kk nao nv oao oaoo ojsc oy oyj pao pjsc pjscb plc rao sa "
    "sao saog scb se spa szao szat tbk zao zat zrt"
)
"""Legal forms with shares, and what `phrases` makes of those of several words."""

LIMITED: Final = _words(
    "bv bvba doo eood eurl fzco fze gbr gesmbh gk gmbh kft limitada limited llc llp ltd ltda "
    "ltee mbh ooo ou pte pty pvt sarl sdn sl slu spoo spzoo srl sro taa tov uab ug wll yk"
)
"""Legal forms that limit what partners answer for."""

LEGAL: Final = (
    STOCK
    | LIMITED
    | _words(
        "ano bsc cia co company corp corporation cv dmcc ead ehf fgau fgbu fgup fkp fku fsbi "
        "fsue fz fzc gesellschaft gup jv kd kg liability lp mup pc private psc pt sal saoc "
        "proprietary osoo sapi sas sasu sca sia snc societe spol sti tic vof"
    )
)
"""Legal forms of one word. A name that is nothing else keeps them."""

EMPTY: Final = _words(
    "academician al and at das de der des die do du e el et for i im imeni in la le les on of "
    "the und ve "
    "y ye"
)
"""Words of grammar."""

TRADE: Final = _words(
    "advanced ai artificial automation circuit cloud communication computer data design "
    "development digital electronic engineering enterprise equipment global group holding "
    "industry information innovation integrated intelligence intelligent international "
    "internet laboratory manufacturing memory microelectronic ml network online optoelectronics "
    "product production research robotic science semiconductor service software solution "
    "supercomputer system technology vision wireless"
)
"""Words that many makers of technology have in their names, and often leave out."""

SECTORS: Final = _words(
    "agency airline automobile bio broadcasting cargo cement coal commerce construction "
    "consulting contracting electric energy exchange exploration export gas general import "
    "instrument insurance investment leasing logistic machine machinebuilding machinery marine "
    "material mechanical media metal mineral mining money motor oil petrochemical petroleum "
    "pharmaceutical precision refinery repair ship shipbuilding shipping shipyard steel trading "
    "transfer vehicle"
)
"""Words of other trades. A name is not told from others by them alone, but no side may leave them
out of a match.
"""

PLACES: Final = _words(
    "africa america anhui argentina armenia asia australia austria azerbaijan bahrain "
    "bangladesh central federal regional republican municipal beijing belarus belgium berlin "
    "brazil britain bulgaria cambodia canada "
    "changsha chengdu chile china chongqing colombia crimea croatia cyprus czech dalian "
    "denmark dprk dubai egypt emirates england estonia europe finland france fujian georgia "
    "germany ghana greece guangdong guangxi guangzhou guizhou hainan hangzhou harbin hebei "
    "hefei heilongjiang henan hk hong hubei hunan hungary iceland india indonesia inner iran "
    "iraq ireland islamic israel istanbul italy japan jiangsu jiangxi jilin jinan jordan "
    "kazakhstan kazan kenya kong korea kunming kuwait kyrgyzstan lanzhou laos latvia lebanon "
    "liaoning libya lithuania london luxembourg macau malaysia malta mexico minsk moldova "
    "mongolia montenegro morocco moscow mumbai myanmar nanjing national nepal netherlands "
    "nigeria ningbo ningxia norway novosibirsk oman osaka pakistan panama paris people "
    "peoples peru petersburg philippines poland portugal prc pyongyang qatar qingdao qinghai "
    "republic romania rsfsr russia saint seoul serbia shaanxi shandong shanghai shanxi "
    "shenyang shenzhen siberia sichuan singapore slovakia slovenia spain sssr state sudan "
    "suzhou sweden switzerland syria taiwan tajikistan tatarstan tehran thailand tianjin "
    "tibet tokyo tunisia turkey turkmenistan uae uk ukraine uruguay urumqi us usa ussr "
    "uzbekistan venezuela vienna vietnam wuhan wuxi xiamen xian xinjiang yemen yunnan "
    "zhejiang zhengzhou zhuhai zurich"
)
"""Places. A name is not told from others by its place alone."""

FIELDS: Final = _words(
    "aerospace agricultural agriculture aviation central chemical chemistry defense economics "
    "education energy experimental finance mathematics medical medicine military nuclear "
    "physics power space special statistics telecommunications transport water"
)
"""Fields of work. A name is not told from others by its field and its place."""

INSTITUTIONS: Final = _words(
    "academy agency association bank bureau center college combine complex concern corps "
    "council department establishment faculty federation firm foundation fund gok institute "
    "kb ministry nii npc npf npk npo npp ntc okb plant po ran school skb society spc td tpk "
    "tskb tsnii university vnii"
)
"""Kinds of institution. A name is not told from others by its kind, with or without its place."""

_SCIENCE: Final = frozenset({"science", "production"})
_DESIGN: Final = frozenset({"bureau", "design"})
_RESEARCH: Final = frozenset({"institute", "research"})
KINDS: Final[Mapping[str, frozenset[str]]] = {
    "kb": _DESIGN,
    "okb": _DESIGN | {"experimental"},
    "skb": _DESIGN | {"special"},
    "tskb": _DESIGN | {"central"},
    "nii": _RESEARCH,
    "tsnii": _RESEARCH | {"central"},
    "vnii": _RESEARCH | {"russia"},
    "npc": _SCIENCE | {"center"},
    "npf": _SCIENCE,
    "npk": _SCIENCE,
    "npo": _SCIENCE | {"association"},
    "npp": _SCIENCE | {"enterprise"},
    "ntc": frozenset({"science", "technology", "center"}),
    "po": frozenset({"production", "association"}),
    "spc": _SCIENCE,
}
"""What those of them say that are short for several words, for telling whether two kinds agree."""

HANDLE_NOISE: Final = _words(
    "ai community cv dev group hf hq hub inc lab labs llm ml model models nlp official open "
    "org research team tech"
)
"""What accounts on hubs add to a name, in front of it or behind."""

HANDLE_ENDS: Final = (
    "research",
    "official",
    "labs",
    "tech",
    "team",
    "lab",
    "llm",
    "nlp",
    "inc",
    "hq",
    "ai",
)
"""Those that are also written without a space; longer ones first."""

HANDLE_WORDS: Final = (
    "semiconductor",
    "technologies",
    "electronics",
    "technology",
    "university",
    "institute",
    "robotics",
    "software",
    "systems",
    "network",
    "cloud",
    "group",
    "micro",
    "bank",
    "data",
)
"""Words of trade and kind that accounts write without a space; longer ones first."""
