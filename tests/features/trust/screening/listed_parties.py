# ruff: noqa: E501 - a party a line
"""Organisations that are on public lists, for lists that tests write, and rows that are made up.

The names are public facts: each has the list that it is on, and the rule or date where we know it.
Ids are ours, and so is the choice of other names: the lists themselves have more. No person is
among them.
"""

import random
from collections.abc import Iterator
from typing import Final, NamedTuple

ENTITY: Final = "Entity List (EL) - Bureau of Industry and Security"
SDN: Final = "Specially Designated Nationals (SDN) - Treasury Department"


def _split(text: str) -> list[str]:
    return text.split()


class Row(NamedTuple):
    """A party as a list has it. `source`: where that can be looked up."""

    id: str
    part: str
    name: str
    aliases: tuple[str, ...] = ()
    programme: str = ""
    source: str = ""


def _entity(party: str, source: str, name: str, *aliases: str) -> Row:
    return Row(party, ENTITY, name, aliases, "", f"15 CFR 744, supplement 4: {source}")


def _sdn(party: str, source: str, programme: str, name: str, *aliases: str) -> Row:
    return Row(party, SDN, name, aliases, programme, f"OFAC, SDN list: {source}")


PUBLIC: Final = (
    _entity(
        "E1", "84 FR 22961", "Huawei Technologies Co., Ltd.", "Huawei", "华为技术有限公司", "华为"
    ),
    _entity("E2", "84 FR 54002", "iFLYTEK", "iFlytek Co., Ltd.", "科大讯飞股份有限公司"),
    _entity("E3", "84 FR 54002", "Megvii Technology", "Face++", "旷视科技"),
    _entity("E4", "84 FR 54002", "SenseTime", "Sense Time", "商汤科技", "商汤集团"),
    _entity("E5", "84 FR 54002", "Yitu Technologies", "依图科技"),
    _entity(
        "E6",
        "84 FR 54002",
        "Hikvision",
        "Hangzhou Hikvision Digital Technology Co., Ltd.",
        "杭州海康威视数字技术股份有限公司",
    ),
    _entity("E7", "84 FR 54002", "Dahua Technology", "Zhejiang Dahua Technology Co., Ltd."),
    _entity("E8", "84 FR 54002", "Yixin Science and Technology Co., Ltd."),
    _entity("E9", "84 FR 54002", "Xiamen Meiya Pico Information Co., Ltd.", "Meiya Pico"),
    _entity("E10", "85 FR 34503", "CloudWalk Technology", "Yuncong Technology", "云从科技"),
    _entity("E11", "85 FR 34503", "FiberHome Technologies Group", "烽火科技集团"),
    _entity("E12", "85 FR 34503", "NetPosa", "NetPosa Technologies Ltd."),
    _entity("E13", "85 FR 34503", "Intellifusion", "Yuntian Lifei", "云天励飞"),
    _entity("E14", "85 FR 34495", "CloudMinds (Hong Kong) Limited", "CloudMinds Inc."),
    _entity("E15", "85 FR 34495", "Qihoo 360 Technology Company", "Qihoo 360", "奇虎360"),
    _entity("E16", "85 FR 34495", "Harbin Institute of Technology", "哈尔滨工业大学"),
    _entity("E17", "85 FR 34495", "Harbin Engineering University", "哈尔滨工程大学"),
    _entity(
        "E18",
        "85 FR 83416",
        "Semiconductor Manufacturing International Corporation",
        "SMIC",
        "中芯国际",
    ),
    _entity("E19", "85 FR 83416", "SZ DJI Technology Co., Ltd.", "DJI", "大疆创新科技有限公司"),
    _entity("E20", "85 FR 83416", "Beijing Institute of Technology", "北京理工大学"),
    _entity("E21", "85 FR 83416", "Nanjing University of Science and Technology"),
    _entity("E22", "Beihang University", "Beihang University", "BUAA"),
    _entity("E23", "universities", "Northwestern Polytechnical University", "西北工业大学"),
    _entity(
        "E24",
        "80 FR 8524",
        "National University of Defense Technology",
        "NUDT",
        "国防科技大学",
    ),
    _entity(
        "E25", "universities", "University of Electronic Science and Technology of China", "UESTC"
    ),
    _entity("E26", "universities", "Sichuan University", "四川大学"),
    _entity(
        "E27", "86 FR 18437", "Tianjin Phytium Information Technology", "Phytium", "飞腾信息技术"
    ),
    _entity("E28", "86 FR 18437", "Sunway Microelectronics"),
    _entity("E29", "86 FR 60759", "NSO Group"),
    _entity("E30", "86 FR 60759", "Candiru"),
    _entity("E31", "87 FR 77505", "Cambricon Technologies Corporation Limited", "寒武纪"),
    _entity("E32", "87 FR 77505", "Yangtze Memory Technologies Co., Ltd.", "YMTC", "长江存储"),
    _entity("E33", "87 FR 77505", "Shanghai Micro Electronics Equipment (Group) Co., Ltd."),
    _entity("E34", "88 FR 13673", "Inspur Group Co., Ltd.", "浪潮集团有限公司"),
    _entity("E35", "88 FR 13673", "Loongson Technology", "龙芯中科技术股份有限公司"),
    _entity("E36", "88 FR 13673", "BGI Research"),
    _entity("E37", "88 FR 71991", "Shanghai Biren Intelligent Technology Co., Ltd.", "Biren"),
    _entity("E38", "88 FR 71991", "Moore Thread Intelligent Technology", "Moore Threads"),
    _entity(
        "E39",
        "rule of 16 January 2025",
        "Beijing Zhipu Huazhang Technology Co., Ltd.",
        "Zhipu AI",
        "Beijing Knowledge Atlas Technology",
        "北京智谱华章科技有限公司",
    ),
    _entity("E40", "rule of 16 January 2025", "Sophgo Technologies Ltd.", "算能科技"),
    _entity(
        "E41",
        "rule of March 2025",
        "Beijing Academy of Artificial Intelligence",
        "BAAI",
        "北京智源人工智能研究院",
    ),
    _entity("E42", "rule of March 2025", "Beijing Innovation Wisdom Technology Co., Ltd."),
    _entity("E43", "rule of June 2024", "AO Kaspersky Lab", "Kaspersky", "Лаборатория Касперского"),
    _entity("E44", "rules of 2022", "Moscow Institute of Physics and Technology", "MIPT"),
    _entity("E45", "78 FR 13463", "T-Platforms", "T-Platforms JSC"),
    _sdn(
        "S1",
        "6 April 2022",
        "RUSSIA-EO14024",
        "PUBLIC JOINT STOCK COMPANY SBERBANK OF RUSSIA",
        "SBERBANK",
        "SBER",
    ),
    _sdn("S2", "24 February 2022", "RUSSIA-EO14024", "VTB BANK PUBLIC JOINT STOCK COMPANY", "VTB"),
    _sdn("S3", "6 April 2022", "RUSSIA-EO14024", "JOINT STOCK COMPANY ALFA-BANK", "ALFA-BANK"),
    _sdn("S4", "28 June 2022", "RUSSIA-EO14024", "STATE CORPORATION ROSTEC", "ROSTEC", "Ростех"),
    _sdn("S5", "2 August 2022", "RUSSIA-EO14024", "SKOLKOVO FOUNDATION"),
    _sdn(
        "S6",
        "2 August 2022",
        "RUSSIA-EO14024",
        "SKOLKOVO INSTITUTE OF SCIENCE AND TECHNOLOGY",
        "SKOLTECH",
    ),
    _sdn("S7", "24 February 2022", "RUSSIA-EO14024", "PUBLIC JOINT STOCK COMPANY SOVCOMBANK"),
    _sdn(
        "S8",
        "20 July 2023",
        "RUSSIA-EO14024",
        "JOINT STOCK COMPANY TINKOFF BANK",
        "TINKOFF",
    ),
    _sdn("S9", "21 November 2024", "RUSSIA-EO14024", "GAZPROMBANK JOINT STOCK COMPANY"),
    _sdn("S10", "15 April 2021", "RUSSIA-EO14024", "AKTSIONERNOE OBSHCHESTVO POZITIV TEKNOLODZHIZ",
         "JOINT STOCK COMPANY POSITIVE TECHNOLOGIES", "POSITIVE TECHNOLOGIES, AO"),
    _sdn("S11", "15 April 2021", "RUSSIA-EO14024", "FEDERAL STATE AUTONOMOUS INSTITUTION MILITARY"
         " INNOVATIVE TECHNOPOLIS ERA", "ERA TECHNOPOLIS"),
    _sdn("S12", "15 April 2021", "RUSSIA-EO14024", "NEOBIT, OOO", "LIMITED LIABILITY COMPANY NEOBIT"),
    _sdn("S13", "15 March 2018", "CYBER2", "INTERNET RESEARCH AGENCY LLC", "LAKHTA INTERNET RESEARCH"),
    _sdn("S14", "13 September 2019", "DPRK3", "LAZARUS GROUP", "HIDDEN COBRA"),
    _sdn("S15", "3 January 2025", "CYBER2", "INTEGRITY TECHNOLOGY GROUP, INCORPORATED",
         "YONGXIN ZHICHENG TECHNOLOGY GROUP"),
    _sdn("S16", "17 January 2025", "CYBER2", "SICHUAN JUXINHE NETWORK TECHNOLOGY CO., LTD."),
    _sdn("S17", "25 March 2024", "CYBER2", "WUHAN XIAORUIZHI SCIENCE AND TECHNOLOGY COMPANY, LIMITED"),
    _sdn("S18", "12 October 2011", "SDGT", "MAHAN AIR"),
    _sdn("S19", "28 February 2022", "RUSSIA-EO14024", "RUSSIAN DIRECT INVESTMENT FUND", "RDIF"),
)  # fmt: skip

_SYLLABLES: Final = _split(
    "ba bel cor dan dor el fen gal har in jo kal lem mor nal os pel quin ras sor tal ul ver"
    " wen xil yor zan chu dao feng guo hai jing kun liang mao nuo qiu ruo shun ting wu xue "
    "yuan zhe"
)
_ENDS: Final = (
    "Trading LLC", "Shipping Co., Ltd.", "Electronics Limited", "Import Export GmbH", "Logistics JSC",
    "Technology Co., Ltd.", "Industries Ltd", "Aviation FZE", "Petrochemical Company", "Metals OOO",
    "Science and Technology Development Co., Ltd.", "International Holdings Limited", "Marine S.A.",
)  # fmt: skip


def made_up(count: int, seed: int = 15) -> Iterator[Row]:
    """Companies that do not exist: names of random syllables, most with another name."""
    choose = random.Random(seed)
    for number in range(count):
        names = [
            f"{_word(choose)} {_word(choose)} {choose.choice(_ENDS)}"
            for _ in range(choose.choice((1, 1, 1, 2)))
        ]
        yield Row(f"M{number}", choose.choice((ENTITY, SDN)), names[0], tuple(names[1:]), "MADE-UP")


def _word(choose: random.Random) -> str:
    return "".join(choose.choice(_SYLLABLES) for _ in range(choose.choice((2, 3, 3)))).title()


_PINYIN: Final = _split(
    "an bai bao bo chang cheng chuang da dong fang fei fu gang guang guo hai han hao heng hong hua hui "
    "ji jia jian jin jing jun kai kang ke lan li lian ling long lu mei ming nan ning peng ping qi qiang "
    "rong rui sen shan sheng shi shun si tai tian tong wan wei wen wu xi xiang xin xing xu yang yi ying "
    "yong you yu yuan yun ze zhao zhen zheng zhi zhong zi"
)
_CITIES: Final = _split(
    "Beijing Shanghai Shenzhen Guangzhou Hangzhou Chengdu Wuhan Nanjing Tianjin Suzhou Xiamen Qingdao "
    "Hefei Changsha Zhengzhou Jinan Moscow Novosibirsk Kazan Minsk Tehran Dubai Istanbul Singapore"
)
_SLAVIC: Final = _split(
    "agro alt avia bio vekt vest geo dal delt energ zar inter kvant komet lad luch meteor mir nord okean "
    "orion pol prom prog radon sever signal sokol spektr stal step stroy taim temp torg ural fort tsikl"
)
_SLAVIC_ENDS: Final = _split(
    "a on or at ex in is mash pribor servis stroi tekh telekom torg trans avto"
)
_PERSIAN: Final = _split(
    "Aftab Arya Asia Atlas Azar Bahar Behin Dana Ertebat Fajr Farda Hamrah Iran Kavosh Kimia Mehr Mobin "
    "Novin Pars Pishro Rayan Saba Sanat Sepehr Shahin Sina Tadbir Tose Yas Zarrin"
)
_WESTERN: Final = _split(
    "Aber Alder Ash Barrow Black Brad Carr Cole Dale East Elm Fair Fox Glen Green Hal Hart Hill Holt Kings "
    "Lake Lang Mar Mill Nor Oak Pem Red Ros Sand Silver Stan Stone Thorn Wake West White Wind Wood Wren"
)
_WESTERN_ENDS: Final = _split(
    "bury by dale field ford gate ham hurst ley low mere mont ridge stead ton well wick worth"
)
_FIELDS: Final = (
    "Electronics", "Technology", "Science and Technology", "Intelligent Technology", "Microelectronics",
    "Information Technology", "Semiconductor", "Aviation Technology", "Optoelectronics", "Robotics",
    "Network Technology", "Data", "Software", "Trading", "International Trade", "Logistics", "Instruments",
)  # fmt: skip
_SLAVIC_KINDS: Final = (
    "NPO",
    "NPP",
    "KB",
    "NII",
    "OKB",
    "Zavod",
    "TD",
    "Nauchno-Proizvodstvennoe Predpriyatie",
    "",
)
_SLAVIC_FORMS: Final = ("OOO", "AO", "PAO", "Limited Liability Company", "Joint Stock Company",
                        "Obshchestvo S Ogranichennoi Otvetstvennostyu")  # fmt: skip


def realistic(count: int, seed: int = 15) -> Iterator[Row]:
    """Companies that do not exist, with names as those on lists: Chinese, Slavic, Persian and
    Western ones, their words of trade, places, kinds and legal forms, many with another name.
    """
    choose = random.Random(seed)
    kinds = (_chinese, _chinese, _slavic, _slavic, _persian, _western)
    for number in range(count):
        names = choose.choice(kinds)(choose)
        yield Row(f"R{number}", choose.choice((ENTITY, SDN)), names[0], names[1:], "MADE-UP")


def _chinese(choose: random.Random) -> tuple[str, ...]:
    syllables = [choose.choice(_PINYIN) for _ in range(choose.choice((2, 2, 2, 3)))]
    name, city = "".join(syllables).title(), choose.choice(_CITIES[:16])
    field = choose.choice(_FIELDS)
    end = choose.choice(("Co., Ltd.", "Co., Limited", "Group Co., Ltd."))
    given = f"{city} {name} {field} {end}"
    others = (
        f"{name} {field}",
        " ".join(syllables).title() + " Keji You Xian Gong Si",
        f"{name} Group",
    )
    return (given, *choose.sample(others, choose.choice((0, 0, 1, 2))))


def _slavic(choose: random.Random) -> tuple[str, ...]:
    name = (choose.choice(_SLAVIC) + choose.choice(_SLAVIC_ENDS)).title()
    if choose.random() < 0.4:
        name = f"{name}-{choose.choice(_SLAVIC).title()}"
    kind = choose.choice(_SLAVIC_KINDS)
    forms = choose.sample(_SLAVIC_FORMS, choose.choice((1, 2)))
    return tuple(" ".join(filter(None, (form, kind, name))) for form in forms)


def _persian(choose: random.Random) -> tuple[str, ...]:
    name = " ".join(choose.sample(_PERSIAN, choose.choice((2, 2, 3))))
    end = choose.choice(("Company", "Co.", "Industries Co.", "Trading LLC", "Engineering Company"))
    return (f"{name} {end}", *((f"Sherkat {name}",) if choose.random() < 0.2 else ()))


def _western(choose: random.Random) -> tuple[str, ...]:
    name = choose.choice(_WESTERN) + choose.choice(_WESTERN_ENDS)
    if choose.random() < 0.5:
        name = f"{name} & {choose.choice(_WESTERN)}{choose.choice(_WESTERN_ENDS).title()}"
    return (
        f"{name} {choose.choice(_FIELDS)} {choose.choice(('Ltd', 'GmbH', 'S.A.', 'LLC', 'Inc.'))}",
    )
