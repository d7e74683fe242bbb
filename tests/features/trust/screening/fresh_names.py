# ruff: noqa: E501, RUF001 - many names, also in other scripts
"""The second held-out set: names written down before the rules of matching were changed again.

**Publishers** (`fresh_publishers.txt`): organisations that make software, chips or models, or that
teach. A row has names as lists write them; the other names are what the organisation calls itself,
also in its country's script, and accounts that were made of them. Half of the organisations was
looked at to mend the rules, the other half was only counted (`half`). Written from general knowledge and
not looked up; that a row is here does not say that its organisation is on a list. A name that ends in
"~" translates what tells the organisation apart: no program knows it from the row, and it is counted
apart.

**Other names**: accounts and organisations that none of the rows names.

**Treasury pairs**: names that the US Treasury gives to one party, from parties that the first set did
not draw. The file of the list is not here: `measure` takes it. Drawn from `alt.csv` as published on
2 June 2026: parties with two names or more of which one has a word of organisations, in the order of
the sha256 of "fresh draw " and their number; the first 260. The name with the lowest sha256 is asked
for. Each pair was read, before any was run, and is not counted (`NO_LABEL`) where the name does not
follow from the row: it is another one, a translation of the telling words, or initials.
"""

import csv
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.features.trust.screening import held_out
from tests.features.trust.screening.labelled import Label
from tests.features.trust.screening.listed_parties import SDN, Row

_FILE: Final = Path(__file__).with_name("fresh_publishers.txt")
DRAWN: Final = 260
NO_LABEL: Final = frozenset(
    [
        "50592",
        "15118",
        "52161",
        "26861",
        "13420",
        "15580",
        "15583",
        "13115",
        "15632",
        "47958",
        "50182",
        "40879",
        "47948",
        "25425",
        "49268",
        "56306",
        "10887",
        "34540",
        "48429",
        "4700",
        "11607",
        "15605",
        "11195",
        "54236",
        "50396",
        "54253",
        "49665",
        "50499",
        "15914",
        "35882",
        "51290",
        "27332",
        "50981",
        "30208",
        "51118",
        "52133",
        "20211",
        "38536",
        "34741",
        "48332",
        "48012",
        "47845",
        "44998",
        "20573",
        "4691",
        "42018",
        "35337",
        "13109",
        "23565",
        "43074",
        "29856",
        "44917",
        "54241",
        "23203",
        "9334",
        "41919",
        "24664",
        "26846",
        "37049",
        "54165",
        "45354",
        "39620",
    ]
)
_ORGANISATION: Final = re.compile(
    r"\b(TECH\w*|TEKH\w*|SCIEN\w*|NAUCHN\w*|INSTITUT\w*|BANK\w*|RESEARCH|UNIVERSIT\w*|ELECTRON\w*"
    r"|ELEKTRON\w*|COMPUT\w*|SOFTWARE|SYSTEMS?|SISTEM\w*|INFORMATI\w*|DATA|NETWORK|AVIATION|INDUSTR\w*"
    r"|CO|COMPANY|LTD|LLC|JSC|OOO|AO|OAO|PAO|LIMITED|GROUP|CORPORATION|CENTER|LABORATOR\w*|OBSHCH\w*"
    r"|AKTSION\w*)\b"
)


def _lines() -> Iterator[tuple[str, list[str], list[str], list[str]]]:
    lines = _FILE.read_text("utf-8").splitlines()
    for number, line in enumerate(line for line in lines if not line.startswith("#")):
        rows, names, accounts = (
            [one for one in part.split(";") if one] for part in line.split("|")
        )
        yield f"F{number}", rows, names, accounts


def rows() -> list[Row]:
    return [Row(key, SDN, names[0], tuple(names[1:]), "") for key, names, _, _ in _lines()]


def labels(*, translated: bool = False) -> list[Label]:
    """The names of the rows' organisations; those that are translations, or all others."""
    found = []
    for key, _, names, accounts in _lines():
        found += [Label(n.removesuffix("~"), key) for n in names if n.endswith("~") is translated]
        if not translated:
            found += [Label(account, key, handle=True) for account in accounts]
    return found


def half(label: Label) -> int:
    """0: its party's names may be looked at to mend the rules; 1: they are held out."""
    return int(_digest(label.party or label.text)[:2], 16) % 2


def treasury(path: Path) -> tuple[list[Row], list[Label]]:
    """All parties of the Treasury's file of other names, without those that are asked for, and the
    labels of the pairs that are counted.
    """
    names: dict[str, list[str]] = {}
    with path.open(encoding="latin-1", newline="") as file:
        for line in csv.reader(file):
            if len(line) > 3 and (name := line[3].strip()) not in names.setdefault(line[0], []):
                names[line[0]].append(name)
    first = {label.party.removeprefix("P") for label in held_out.pair_labels()}
    first |= held_out.NO_LABEL
    order = sorted(
        (
            number
            for number, given in names.items()
            if number not in first and len(given) > 1 and any(map(_ORGANISATION.search, given))
        ),
        key=lambda number: _digest(f"fresh draw {number}"),
    )
    asked = {number: min(names[number], key=_digest) for number in order[:DRAWN]}
    listed = []
    for number, given in names.items():
        left = [name for name in given if name != asked.get(number)]
        listed.append(Row(f"T{number}", SDN, left[0], tuple(left[1:]), ""))
    wanted = [Label(name, f"T{n}") for n, name in asked.items() if n not in NO_LABEL]
    return listed, wanted


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_ACCOUNTS: Final = (  # noqa: SIM905 - a list of words
    "tencentmusic vivo-ai oppo-ai meituan jdcloud netease-youdao kuaishou bilibili zhihu 360zhinao "
    "didi ctrip lenovo-research hpcai-tech sapientinc dphn nousresearch-labs primeintellect "
    "allenai-team meta-pytorch pytorch tensorflow jax-ml keras ultralytics roboflow paddlepaddle PaddleNLP "
    "mindspore-lab oneflow BAIDU-ernie amazon-science aws-neuron azure-samples google-deepmind waymo tesla-ai "
    "nvidia-cosmos nvlabs ibm-research-zurich sapient sap-ai siemens-healthineers bosch-ai philips-research "
    "samsung-ailab lgcns hyundai-ai navercorp kt-ai posco-ai sony-research panasonic-ai hitachi-nlp toshiba-rd "
    "fujitsu-kozuchi nec-labs ricoh-ai canon-ai ntt-hil-insight mercari-ai preferred-networks deepl helsinki-nlp "
    "university-of-edinburgh oxford-vgg cambridge-ltl eth-zurich epfl-nlp mpi-inf tu-darmstadt inria kth-nlp "
    "stanford-crfm berkeley-bair mit-csail princeton-nlp cmu-ml uw-madison gatech-ai nyu-visionx columbia-ai "
    "kaist-ai snu-nlp tsinghua-ai fudan-nlp zju-ai sjtu-ai westlake-ai hkust-nlp nus-ai ntu-nlp iitm-ai iiit-h "
    "usp-ai unam-ai uba-nlp wits-ai cairo-nlp kfupm-jrcai kaust-ai bilkent-ai metu-nlp tubitak-ai turkcell-ai "
    "trendyol ytu-ce-cosmos vngrs vinbigdata zalo-ai fpt-ai grab-ai sea-ai gojek-ai tokopedia bukalapak-ai"
).split()
_NAMES: Final = (
    "Lenovo Group Limited", "联想集团有限公司", "Meituan", "JD.com, Inc.", "京东集团股份有限公司", "NetEase, Inc.",
    "Kuaishou Technology", "北京快手科技有限公司", "Bilibili Inc.", "Zhihu Technology Limited", "Horizon Robotics",
    "Fudan Microelectronics Society", "Nanjing University of Posts and Telecommunications", "Xiamen University",
    "Shenzhen University", "Hefei University of Technology", "Jinan University", "Chongqing University",
    "Dalian Maritime University", "Tianjin University", "Xi'an University of Posts and Telecommunications",
    "Nanchang University", "Guangdong University of Finance", "Huazhong Agricultural University",
    "Central China Normal University", "Tongji Medical College Press", "National Supercomputing Center Singapore",
    "National Center for Supercomputing Applications", "Quantum Computing Inc.", "QuantumScape Corporation",
    "ACM SIGKDD", "Association for Computing Machinery", "Autel Energy Europe GmbH", "Silver Star Brands",
    "Yanbian University", "Pyongyang University of Science and Technology", "Korea Aerospace University",
    "Cloud Arvana GmbH", "Ravin Cables Limited", "Pasargad Research LLC", "Mabna Telecom", "Imam University",
    "Beheshti Hospital", "Iranian Association of Electrical Engineers", "Speech Processing Solutions GmbH",
    "Elvis Presley Enterprises", "Angstrom Engineering", "Module Energy Ltd", "Canadian Quantum Centre",
    "Russian Academy of Arts", "Telecom Italia S.p.A.", "T-Mobile US, Inc.", "Tinkoff Digital Art",
    "Digital Security Authority of Cyprus", "Embedd Ltd", "Quant Network Ltd", "Norsk Hydro ASA", "Proteus Digital",
    "Aquarius Space", "Moscow Architectural Institute", "Kazan Aviation Museum", "Saint Petersburg State University",
    "Keldysh Museum", "Synthesia Ltd", "Synesthesia Labs", "Panoptic Software", "Integral Development Corp.",
    "Planar Systems, Inc.", "Coseine Ltd", "Hydra Host Inc.", "Guarantee Insurance", "Suez S.A.", "Bing Tuan Restaurant",
    "Xinjiang University", "Silence Laboratories", "Xiamen Silence Audio", "Sagemcom SAS", "Hualan Biological Engineering",
    "Robotics Sense Oy", "China Mobile Games Studio", "Telecom Argentina",
    "Geovista AB", "Knowsoft Ltd", "Chian Health", "Leon Trading Sweden", "Isovision", "Sensenet GmbH", "Sumac Robotics",
    "Kuang Industries Ltd", "Bitland Games", "OFilms Production", "Wing Technologies Inc.", "Pioneer Tech Inc.",
    "King Semiconductor Ltd", "Swayze Technology", "Sienna Integrated Circuits", "Carrier Global Corporation",
    "Tianda Group", "Jingjia Textile", "Quantum CT Imaging", "Fujian Normal University", "Haisi Pharma",
    "Huawen Media", "Silicon Technologies Co., Ltd.", "東北大学", "名古屋大学", "성균관대학교", "삼성전자 주식회사",
    "Московский государственный университет", "Уральский федеральный университет", "ООО «Яндекс»", "جامعة القاهرة",
    "دانشگاه تهران", "شرکت دانش بنیان نوین", "清华大学深圳国际研究生院", "北京大学", "中山大学", "南京师范大学",
)  # fmt: skip
OTHER_NAMES: Final = (
    *(Label(name, handle=True) for name in _ACCOUNTS),
    *(Label(name) for name in _NAMES),
)
"""Publishers and other organisations that no row names, many of them near to one."""
