# ruff: noqa: RUF001, E501 - names in other scripts, a party a line
"""Names of publishers, each with the listed party that it is a name of, or with none.

What is labelled is which party a name means. That the listed ones are listed, `listed_parties` has
from the public lists; the others are publishers of models, universities and companies, known by
their public accounts and names, which none of the rows there names. Names of organisations alone.
"""

from typing import Final, NamedTuple


def _split(text: str) -> list[str]:
    return text.split()


class Label(NamedTuple):
    """`party`: the id of the row that is meant; empty: none. `handle`: it is an account's name."""

    text: str
    party: str = ""
    handle: bool = False


def _of(party: str, *names: str) -> list[Label]:
    return [Label(name, party) for name in names]


def _accounts(party: str, *names: str) -> list[Label]:
    return [Label(name, party, handle=True) for name in names]


LISTED: Final = [
    # Other names, legal forms, case, punctuation, order.
    *_of("E1", "Huawei", "HUAWEI TECHNOLOGIES", "Huawei Technologies Company Limited"),
    *_of("E1", "华为", "华为技术有限公司", "華為技術有限公司", "华为公司", "Ｈｕａｗｅｉ"),
    *_of("E2", "iFlytek", "IFLYTEK CO.,LTD.", "Iflytek Company, Ltd", "科大讯飞", "科大訊飛"),
    *_of("E2", "Keda Xunfei"),
    *_of(
        "E3", "Megvii", "Megvii Technology Limited", "MEGVII Inc.", "旷视", "北京旷视科技有限公司"
    ),
    *_of("E4", "Sensetime", "SenseTime Group Inc.", "SENSETIME GROUP LIMITED", "商汤", "商湯科技"),
    *_of("E5", "YITU", "Yitu Technology Co., Ltd.", "依图", "上海依图网络科技有限公司"),
    *_of("E6", "HIKVISION", "Hikvision Digital Technology", "海康威视数字技术", "海康威視數字技術"),
    *_of("E7", "Dahua", "Dahua Technology Co Ltd", "Zhejiang Dahua Technology"),
    *_of("E8", "Yixin Science & Technology"),
    *_of("E9", "Xiamen Meiya Pico Information", "Meiya Pico Information Co. Ltd"),
    *_of("E10", "CloudWalk", "Cloudwalk Technology Co., Ltd.", "云从", "雲從科技"),
    *_of("E11", "FiberHome", "Fiberhome Technologies", "烽火科技"),
    *_of("E12", "Netposa Technologies", "NETPOSA TECHNOLOGIES, LTD"),
    *_of("E13", "INTELLIFUSION TECHNOLOGIES", "云天励飞技术股份有限公司", "Yuntianlifei"),
    *_of("E14", "CloudMinds", "Cloudminds Hong Kong"),
    *_of("E15", "Qihoo 360", "Qihoo-360 Technology Co. Ltd.", "奇虎360科技有限公司"),
    *_of("E16", "Harbin Institute of Technology", "HARBIN INST. OF TECHNOLOGY", "哈尔滨工业大学"),
    *_of("E17", "Harbin Engineering University", "哈爾濱工程大學"),
    *_of("E18", "SMIC", "Semiconductor Manufacturing International Corp.", "中芯国际集成电路"),
    *_of("E19", "DJI Technology", "SZ DJI Technology", "大疆创新"),
    *_of("E20", "Beijing Institute of Technology", "北京理工大學"),
    *_of("E22", "Beihang Univ.", "BUAA"),
    *_of("E23", "Northwestern Polytechnical Univ", "西北工業大學"),
    *_of("E24", "National University of Defense Technology", "NUDT", "国防科技大学"),
    *_of("E25", "UESTC", "University of Electronic Science & Technology of China"),
    *_of("E26", "SICHUAN UNIVERSITY", "四川大學"),
    *_of(
        "E27",
        "Phytium Information Technology",
        "Phytium Technology Co., Ltd.",
        "飞腾信息技术有限公司",
    ),
    *_of("E29", "N.S.O. Group", "NSO Group Technologies Ltd"),
    *_of("E30", "Candiru Ltd."),
    *_of("E31", "Cambricon", "Cambricon Technologies", "寒武纪科技"),
    *_of("E32", "Yangtze Memory Technologies", "YMTC", "长江存储科技有限责任公司"),
    *_of("E33", "Shanghai Micro Electronics Equipment"),
    *_of("E34", "Inspur", "INSPUR GROUP", "浪潮集团", "浪潮"),
    *_of("E35", "Loongson", "Loongson Technology Corporation Limited", "龙芯中科"),
    *_of("E37", "Biren Technology", "Shanghai Biren Intelligent Technology"),
    *_of("E38", "Moore Threads Intelligent Technology", "Moore Threads"),
    *_of(
        "E39", "Zhipu", "Beijing Zhipu Huazhang Technology", "智谱华章", "Zhipu.AI", "ZHIPU AI LTD"
    ),
    *_of("E39", "Technology Zhipu Huazhang Beijing", "Knowledge Atlas Technology"),
    *_of("E40", "Sophgo", "SOPHGO TECHNOLOGIES LIMITED"),
    *_of("E41", "BAAI", "Beijing Academy of Artificial Intelligence", "北京智源人工智能研究院"),
    *_of("E42", "Innovation Wisdom Technology"),
    *_of("E43", "Kaspersky Lab", "Kaspersky Labs Limited", "Касперский", "Лаборатория Касперского"),
    *_of(
        "E43", "Kasperskiy", "OOO Kaspersky Group", "Kasperskij Lab", "АО «Лаборатория Касперского»"
    ),
    *_of("E44", "MIPT", "Moscow Inst. of Physics & Technology"),
    *_of("E45", "T-Platforms, JSC", "Т-Платформс", "AO T Platforms"),
    *_of(
        "S1", "Sberbank", "Сбербанк", "ПАО Сбербанк", "PJSC Sberbank", "Sberbank of Russia", "Сбер"
    ),
    *_of("S2", "VTB Bank", "VTB Bank PJSC", "Банк ВТБ", "ПАО Банк ВТБ"),
    *_of("S3", "Alfa-Bank", "Альфа-Банк", "AO Alfa Bank", "АО «Альфа-Банк»", "Alfabank"),
    *_of("S4", "Rostec", "Ростех", "Rostekh", "State Corporation Rostec"),
    *_of("S5", "Skolkovo Foundation", "The Skolkovo Foundation"),
    *_of("S6", "Skoltech", "Skolkovo Institute of Science and Technology"),
    *_of("S7", "Sovcombank", "Совкомбанк", "PAO Sovkombank"),
    *_of("S8", "Tinkoff Bank", "Тинькофф Банк", "АО Тинькофф Банк"),
    *_of("S9", "Gazprombank", "Газпромбанк", "GPB Gazprombank JSC"),
    *_of("S10", "Positive Technologies", "Positive Technologies AO"),
    *_of("S12", "Neobit", "ООО Необит"),
    *_of("S13", "Internet Research Agency", "INTERNET RESEARCH AGENCY, L.L.C."),
    *_of("S14", "Lazarus Group", "Hidden Cobra"),
    *_of("S15", "Integrity Technology Group", "Integrity Technology Group Inc"),
    *_of("S16", "Sichuan Juxinhe Network Technology"),
    *_of("S17", "Wuhan Xiaoruizhi Science & Technology Co Ltd"),
    *_of("S19", "Russian Direct Investment Fund"),
    # Accounts on hubs.
    *_accounts("E1", "huawei", "Huawei-AI"),
    *_accounts("E2", "iflytek", "iFlytekAI", "iflytek-research"),
    *_accounts("E3", "MEGVII-research", "megvii-model"),
    *_accounts("E4", "sensetime", "SenseTime-Research"),
    *_accounts("E12", "netposa-ai"),
    *_accounts("E27", "phytium-official"),
    *_accounts("E31", "cambricon", "Cambricon-AI"),
    *_accounts("E34", "inspur-ai"),
    *_accounts("E38", "moore-threads", "MooreThreads"),
    *_accounts("E39", "zhipuai", "zhipu-ai"),
    *_accounts("E40", "sophgo"),
    *_accounts("E41", "BAAI"),
    *_accounts("E43", "kaspersky"),
    *_accounts("S1", "sberbank-ai", "sberbank"),
    *_accounts("S6", "skoltech"),
    *_accounts("S8", "tinkoff-ai"),
]

_ACCOUNTS: Final = _split(
    "meta-llama facebook mistralai google microsoft nvidia openai anthropic apple "
    "ibm-granite allenai EleutherAI bigscience bigcode HuggingFaceTB stabilityai tiiuae "
    "CohereForAI databricks mosaicml Snowflake Salesforce amazon xai-org deepseek-ai Qwen "
    "baichuan-inc 01-ai internlm moonshotai MiniMaxAI stepfun-ai ByteDance-Seed tencent "
    "baidu XiaomiMiMo openbmb upstage LGAI-EXAONE naver kakaocorp rinna SakanaAI cyberagent"
    " pfnet elyza stockmark AI-Sweden-Models Aleph-Alpha lightonai nomic-ai jinaai "
    "sentence-transformers NousResearch lmsys togethercomputer cerebras sambanovasystems "
    "Intel amd qualcomm ServiceNow-AI Zyphra arcee-ai LiquidAI ai21labs black-forest-labs "
    "RekaAI Writer ContextualAI PleIAs kyutai LumiOpen swiss-ai ai4bharat sarvamai "
    "inceptionai MBZUAI BSC-LT openGPT-X utter-project OpenGVLab Skywork yandex OrionStarAI"
    " vikhyatk-org IDEA-CCNL"
)
_NAMES: Final = (
    "Meta Platforms, Inc.", "Mistral AI SAS", "Google LLC", "Microsoft Corporation",
    "NVIDIA Corporation", "OpenAI OpCo, LLC", "Anthropic PBC", "Apple Inc.",
    "International Business Machines Corporation", "Allen Institute for Artificial Intelligence",
    "Hugging Face, Inc.", "Stability AI Ltd", "Technology Innovation Institute", "Cohere Inc.",
    "Databricks, Inc.", "Cerebras Systems Inc.", "SambaNova Systems, Inc.", "Intel Corporation",
    "Qualcomm Technologies, Inc.", "Preferred Networks, Inc.", "Aleph Alpha GmbH", "Jina AI GmbH",
    "AI21 Labs Ltd.", "Barcelona Supercomputing Center", "LG AI Research", "Naver Corporation",
    "Hangzhou DeepSeek Artificial Intelligence Basic Technology Research Co., Ltd.",
    "杭州深度求索人工智能基础技术研究有限公司", "阿里云计算有限公司", "腾讯科技（深圳）有限公司",
    "北京百度网讯科技有限公司", "上海人工智能实验室", "Shanghai Artificial Intelligence Laboratory",
    "Alibaba Cloud Computing Co., Ltd.", "Beijing Moonshot AI Technology Co., Ltd.",
    # Near to a listed name, and another organisation.
    "清华大学", "复旦大学", "上海交通大学", "浙江大学", "Tsinghua University", "Peking University",
    "Zhejiang University", "Fudan University", "Nanjing University", "Northwestern University",
    "Beijing University of Technology", "Beijing Institute of Petrochemical Technology",
    "Harbin University of Science and Technology", "Sichuan Normal University",
    "Southwest University of Science and Technology", "Massachusetts Institute of Technology",
    "Moscow State University", "University of Electro-Communications", "Alpha Bank S.A.",
    "Technology Innovation Foundation", "Internet Archive", "Agency for Science, Technology and Research",
    "National University of Singapore", "National Defense University", "Direct Line Group",
    "Yangtze University", "Beijing Normal University", "Semiconductor Research Corporation",
    "Lazard Group", "Integrity Solutions Group", "Positive Grid", "Sunway University", "Sberlab",
    "Dahu Technology", "Huwei Technologies", "Megvy", "Sensitime", "Hivision", "Cambrian Technologies",
    "Inspire Group", "Yuyitu", "Sophos Technologies", "Candira", "Moor Thread", "Biran", "Kasperl",
)  # fmt: skip

OTHERS: Final = [
    *(Label(name, handle=True) for name in _ACCOUNTS),
    *(Label(name) for name in _NAMES),
]
ALL: Final = (*LISTED, *OTHERS)

HELD_OUT: Final = (
    # Written after the rules were settled, and not looked at when they were.
    *_of("E1", "Huawei Tech. Co., Ltd", "华为技术", "Huawei Technologies Co Ltd (China)"),
    *_of("E3", "MEGVII Technology Inc.", "旷视科技有限公司"),
    *_of("E4", "SENSETIME TECHNOLOGY", "商汤科技有限公司"),
    *_of("E6", "Hang Zhou Hikvision Digital Technology Company Limited"),
    *_of("E15", "QIHOO360", "奇虎三六零"),
    *_of("E16", "Harbin Institute of Technology (HIT)"),
    *_of("E31", "CAMBRICON TECHNOLOGIES CORP. LTD"),
    *_of("E38", "Moore Threads Technology Co., Ltd."),
    *_of("E41", "Academy of Artificial Intelligence, Beijing"),
    *_of("E43", "Kaspersky Laboratory", "Kasperskii", "ЗАО «Лаборатория Касперского»"),
    *_of("E44", "Московский физико-технический институт"),
    *_of("S1", "СБЕРБАНК РОССИИ", "Sberbank Rossii", "PAO Sberbank"),
    *_of("S3", "Alfa Bank JSC", "ALFABANK AO"),
    *_of("S4", "Rosteh", "ГК Ростех"),
    *_of("S7", "Sovkombank PJSC"),
    *_accounts("E2", "iflytek-official", "IFLYTEK"),
    *_accounts("E3", "megvii"),
    *_accounts("E38", "MooreThreads-AI"),
    *_accounts("E39", "ZhipuAI-org"),
    *(
        Label(name, handle=True)
        for name in ["mattshumer-org", "ibm-nasa-geospatial", "opendatalab", "ModelScope-Team", "vidore", "briaai", "speakleash", "h2oai", "nari-labs", "sesame", "ACE-Step", "fishaudio", "Lightricks", "genmo", "rhymes-ai", "CofeAI", "dicta-il"]
    ),
    *(
        Label(name)
        for name in (
            "Bria Artificial Intelligence Ltd", "H2O.ai Inc.", "Lightricks Ltd", "Hitachi, Ltd.",
            "Fujitsu Limited", "NEC Corporation", "Samsung Electronics Co., Ltd.", "SK Telecom",
            "Shanghai University", "Xidian University", "Tianjin University of Technology",
            "Integrity Group Holdings", "Skolkovo Golf Club", "Sovereign Bank", "Dahlia Technology",
        )
    ),
)  # fmt: skip
