"""Words in names of organisations that tell little or nothing of which one is meant."""

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LEGAL_PHRASES: Final = (
    "obshchestvo s ogranichennoi otvetstvennostiu",
    "obshchestvo s ogranichennoy otvetstvennostyu",
    "publichnoe aktsionernoe obshchestvo",
    "otkrytoe aktsionernoe obshchestvo",
    "zakrytoe aktsionernoe obshchestvo",
    "aktsionernoe obshchestvo",
    "open joint stock company",
    "closed joint stock company",
    "public joint stock company",
    "private joint stock company",
    "joint stock company",
    "limited liability company",
    "public limited company",
    "private limited",
    "company limited",
    "federal state unitary enterprise",
    "sociedad anonima",
    "societe anonyme",
    "societe par actions simplifiee",
    "societa per azioni",
    "naamloze vennootschap",
    "besloten vennootschap",
    "aktiengesellschaft",
    "kabushiki kaisha",
    "kabushiki gaisha",
    "jusik hoesa",
    "sendirian berhad",
)
"""Legal forms of several words, longer ones first, in Latin letters."""

LEGAL: Final = _words(
    "ab ag aktiebolag ao as asa berhad bhd bv bvba cjsc co company corp corporation cv dmcc "
    "doo ead eood eurl fgup fsue fz fzco fze gbr gesellschaft gesmbh gk gmbh hf inc "
    "incorporated jsc jscb kft kg kgaa kk limitada limited llc llp lp ltd ltda ltee mbh nv "
    "oao oaoo ojsc ooo oy oyj pao pjsc plc private pt pte pty pvt rao sa sal saoc sarl sas "
    "sasu sca sdn se sia sl slu snc societe spa spol spzoo srl sro tbk tic uab ug vof yk zao "
    "zrt"
)
"""Legal forms of one word. A name that is nothing else keeps them."""

EMPTY: Final = _words("and das de der des die du e et for la le les of the und y")
"""Words of grammar."""

ONE_WORD: Final = {
    "tech": "technology",
    "technological": "technology",
    "technologies": "technology",
    "technologii": "technology",
    "technologiya": "technology",
    "tehnologii": "technology",
    "tekhnologii": "technology",
    "tekhnologiya": "technology",
    "enterprises": "enterprise",
    "groups": "group",
    "grupp": "group",
    "gruppa": "group",
    "gruppy": "group",
    "holdings": "holding",
    "lab": "laboratory",
    "labs": "laboratory",
    "laboratories": "laboratory",
    "laboratoriia": "laboratory",
    "laboratoriya": "laboratory",
    "networks": "network",
    "sciences": "science",
    "services": "service",
    "solutions": "solution",
    "systems": "system",
    "centre": "center",
    "univ": "university",
    "inst": "institute",
    "circuits": "circuit",
    "universitet": "university",
    "institut": "institute",
    "akademiya": "academy",
    "kompaniya": "co",
    "rossii": "russia",
    "rossiya": "russia",
    "rossiia": "russia",
}
"""Spellings and translations of one word."""

TRADE: Final = _words(
    "advanced ai artificial circuit cloud data digital enterprise global group holding "
    "informatics information integrated intelligence intelligent international internet "
    "laboratory ml network online research robotics science scientific service software "
    "solution system technology"
)
"""Words that many makers of technology have in their names, and often leave out."""

PLACES: Final = _words(
    "america american anhui asia asian beijing belarus belarusian changsha chengdu china "
    "chinese chongqing crimea dalian dubai europe european fujian guangdong guangxi guangzhou "
    "guizhou hainan hangzhou harbin hebei hefei heilongjiang henan hong hubei hunan india "
    "indian inner iran iranian islamic jiangsu jiangxi jilin jinan kazan kong korea korean "
    "kunming lanzhou liaoning macau mongolia moscow moskva nanjing national ningbo ningxia "
    "novosibirsk pakistan people peoples petersburg pyongyang qingdao qinghai republic "
    "rossiya russia russian saint shaanxi shandong shanghai shanxi shenyang shenzhen siberian "
    "sichuan singapore state suzhou syria syrian taiwan tatarstan tehran tianjin tibet turkey "
    "uae ukraine urumqi us usa venezuela wuhan wuxi xiamen xian xinjiang yunnan zhejiang "
    "zhengzhou zhuhai"
)
"""Places. A name is not told from others by its place alone."""

INSTITUTIONS: Final = _words(
    "academy agency association bank center college corps council department faculty federation "
    "foundation fund institute ministry school society university"
)
"""Kinds of institution. A name is not told from others by its kind, with or without its place."""

HANDLE_NOISE: Final = _words(
    "ai community cv dev group hf hq hub inc lab labs llm ml model models nlp official open "
    "org research team tech"
)
"""What accounts on hubs add to a name, in front of it or behind."""

HAN: Final = {
    "股份有限公司": " ltd ",
    "有限责任公司": " ltd ",
    "有限責任公司": " ltd ",
    "集团有限公司": " group ltd ",
    "集團有限公司": " group ltd ",
    "株式会社": " kk ",
    "有限公司": " ltd ",
    "总公司": " corporation ",
    "公司": " co ",
    "集团": " group ",
    "集團": " group ",
    "控股": " holdings ",
    "人工智能": " artificial intelligence ",
    "人工智慧": " artificial intelligence ",
    "智能科技": " intelligent technology ",
    "信息技术": " information technology ",
    "中科技术": " zhongke technology ",
    "中科": " zhongke ",
    "集成电路": " integrated circuit ",
    "积体电路": " integrated circuit ",
    "科学技术": " science technology ",
    "网络科技": " network technology ",
    "科技": " technology ",
    "技术": " technology ",
    "技術": " technology ",
    "智能": " intelligent ",
    "信息": " information ",
    "資訊": " information ",
    "软件": " software ",
    "軟件": " software ",
    "网络": " network ",
    "數據": " data ",
    "数据": " data ",
    "研究院": " academy ",
    "研究所": " institute ",
    "科学院": " academy sciences ",
    "大学": " university ",
    "大學": " university ",
    "实验室": " laboratory ",
    "国际": " international ",
    "中国": " china ",
    "中國": " china ",
    "北京": " beijing ",
    "上海": " shanghai ",
    "深圳": " shenzhen ",
    "广州": " guangzhou ",
    "杭州": " hangzhou ",
    "南京": " nanjing ",
    "天津": " tianjin ",
    "重庆": " chongqing ",
    "成都": " chengdu ",
    "武汉": " wuhan ",
    "西安": " xian ",
    "合肥": " hefei ",
    "哈尔滨": " harbin ",
    "苏州": " suzhou ",
    "浙江": " zhejiang ",
    "江苏": " jiangsu ",
    "广东": " guangdong ",
    "四川": " sichuan ",
    "哈爾濱": " harbin ",
    "廣州": " guangzhou ",
    "武漢": " wuhan ",
    "重慶": " chongqing ",
    "蘇州": " suzhou ",
    "江蘇": " jiangsu ",
    "廣東": " guangdong ",
    "市": " ",
    "省": " ",
}
"""Chinese words that lists give in English."""
