"""Chinese words in names of organisations, in the English that lists have for them."""

import re
from collections.abc import Mapping
from typing import Final

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
    "微电子": " microelectronic ",
    "半导体": " semiconductor ",
    "電子": " electronic ",
    "电子": " electronic ",
    "光电": " optoelectronics ",
    "超级计算": " supercomputing ",
    "云计算": " cloud computer ",
    "计算机": " computer ",
    "計算機": " computer ",
    "计算技术": " computer technology ",
    "计算": " computer ",
    "数码": " digital ",
    "数字": " digital ",
    "數位": " digital ",
    "存储": " memory ",
    "設計": " design ",
    "设计": " design ",
    "通信": " communication ",
    "通訊": " communication ",
    "通讯": " communication ",
    "机电": " electromechanical ",
    "航空航天": " aerospace ",
    "航天": " aerospace ",
    "航空": " aviation ",
    "自动化": " automation ",
    "机器人": " robotics ",
    "安全": " security ",
    "工业": " industry ",
    "产业": " industry ",
    "無線": " wireless ",
    "无线": " wireless ",
    "创新": " innovation ",
    "发展": " development ",
    "国家": " national ",
    "中心": " center ",
    "科学": " science ",
    "工程": " engineering ",
    "系统": " system ",
    "系統": " system ",
    "设备": " equipment ",
    "量子": " quantum ",
    "学院": " college ",
    "學院": " college ",
    "仪器": " instrument ",
    "师范": " normal ",
    "医科": " medical ",
    "理工": " institute technology ",
    "邮电": " posts telecommunications ",
    "长沙": " changsha ",
    "無錫": " wuxi ",
    "无锡": " wuxi ",
    "湖南": " hunan ",
    "湖北": " hubei ",
    "陕西": " shaanxi ",
    "山东": " shandong ",
    "济南": " jinan ",
    "青岛": " qingdao ",
    "福建": " fujian ",
    "厦门": " xiamen ",
    "珠海": " zhuhai ",
    "沈阳": " shenyang ",
    "大连": " dalian ",
    "郑州": " zhengzhou ",
    "贵州": " guizhou ",
    "宁波": " ningbo ",
    "香港": " hong kong ",
    "澳门": " macau ",
    "台湾": " taiwan ",
    "新疆": " xinjiang ",
    "昆明": " kunming ",
    "兰州": " lanzhou ",
    "河北": " hebei ",
    "河南": " henan ",
    "安徽": " anhui ",
    "江西": " jiangxi ",
    "山西": " shanxi ",
    "广西": " guangxi ",
    "云南": " yunnan ",
    "海南": " hainan ",
    "吉林": " jilin ",
    "黑龙江": " heilongjiang ",
    "數字": " digital ",
    "數碼": " digital ",
    "集成電路": " integrated circuit ",
    "積體電路": " integrated circuit ",
    "半導體": " semiconductor ",
    "微電子": " microelectronic ",
    "工業": " industry ",
    "產業": " industry ",
    "自動化": " automation ",
    "機器人": " robotics ",
    "創新": " innovation ",
    "發展": " development ",
    "國家": " national ",
    "國際": " international ",
    "科學技術": " science technology ",
    "科學": " science ",
    "設備": " equipment ",
    "實驗室": " laboratory ",
    "網絡科技": " network technology ",
    "網絡": " network ",
    "網路": " network ",
    "信息技術": " information technology ",
    "存儲": " memory ",
    "醫科": " medical ",
    "師範": " normal ",
    "陝西": " shaanxi ",
    "廈門": " xiamen ",
    "濟南": " jinan ",
    "瀋陽": " shenyang ",
    "長沙": " changsha ",
    "雲南": " yunnan ",
    "黑龍江": " heilongjiang ",
    "計算": " computer ",
    "超级计算机": " supercomputer ",
    "高性能": " high performance ",
    "移动": " mobile ",
    "移動": " mobile ",
    "电信": " telecommunications ",
    "電信": " telecommunications ",
    "生产": " production ",
    "建设": " construction ",
    "制造": " manufacturing ",
    "製造": " manufacturing ",
    "视界": " vision ",
    "视觉": " vision ",
    "視覺": " vision ",
    "电气": " electric ",
    "电力": " power ",
    "能源": " energy ",
    "生物": " bio ",
    "医疗": " medical ",
    "汽车": " automobile ",
    "贸易": " trading ",
    "貿易": " trading ",
    "进出口": " import export ",
    "投资": " investment ",
    "银行": " bank ",
    "銀行": " bank ",
    "保险": " insurance ",
    "服务": " service ",
    "材料": " material ",
    "新材料": " new material ",
    "光学": " optic ",
    "激光": " laser ",
    "精密": " precision ",
    "机械": " machinery ",
    "卫星": " satellite ",
    "船舶": " shipbuilding ",
    "海洋": " ocean ",
    "交通": " jiaotong ",
    "国防": " defense ",
    "技术研究院": " technology academy ",
    "研究中心": " research center ",
    "有限责任": " ltd ",
    "股份": " ltd ",
    "工业大学": " technology university ",
    "工業大學": " technology university ",
    "科技大学": " science technology university ",
    "科技大學": " science technology university ",
    "师范大学": " normal university ",
    "人民大学": " people university ",
    "农业": " agricultural ",
    "传媒": " media ",
    "机构": " institution ",
    "协会": " association ",
    "委员会": " committee ",
    "株式會社": " kk ",
    "市": " ",
    "省": " ",
}
"""Chinese words that lists give in English."""

_DIGITS: Final = dict(zip("〇零一二三四五六七八九", "00123456789", strict=True))
_NUMBER: Final = re.compile(f"[{''.join(_DIGITS)}]{{2,}}")
_TENS: Final = re.compile("第?([一二三四五六七八九]?)十([一二三四五六七八九]?)")
_LONGEST: Final = max(map(len, HAN))
_WORD_COST: Final = 1
_RUN_COST: Final = 3
_CHARACTER_COST: Final = 2
"""Of a word that is translated, of a run of characters that is not, and of each of these. So
华中科技 is 华中 and 科技, and not 华, 中科 and 技.
"""
_NOWHERE: Final = 1 << 30


def in_english(text: str, words: Mapping[str, str] = HAN) -> str:
    """Chinese text with the words of trade, place and kind in English, and numbers in digits.
    `words`: those of another language that writes without spaces.
    """
    if words is HAN:
        text = _NUMBER.sub(lambda found: "".join(_DIGITS[one] for one in found[0]), text)
        text = _TENS.sub(lambda found: _tens(found[1], found[2]), text)
    # best[at]: the least cost of the text up to there, by whether it ends in an open run.
    best = [(0, _NOWHERE)] + [(_NOWHERE, _NOWHERE)] * len(text)
    came: list[tuple[int, int]] = [(0, 0)] * (len(text) + 1)
    for at in range(len(text)):
        closed, running = best[at]
        run = min(closed + _RUN_COST, running) + _CHARACTER_COST
        _reach(best, came, at, at + 1, run, in_run=True)
        for end in range(at + 1, min(len(text), at + _LONGEST) + 1):
            if text[at:end] in words:
                _reach(best, came, at, end, min(closed, running) + _WORD_COST, in_run=False)
    parts: list[str] = []
    at, in_run = len(text), best[-1][1] < best[-1][0]
    while at:
        start = came[at][in_run]
        parts.append(text[start:at] if in_run else words[text[start:at]])
        if in_run:
            in_run = best[start][1] <= best[start][0] + _RUN_COST
        else:
            in_run = best[start][1] < best[start][0]
        at = start
    return "".join(reversed(parts))


def _reach(
    best: list[tuple[int, int]],
    came: list[tuple[int, int]],
    start: int,
    end: int,
    cost: int,
    *,
    in_run: bool,
) -> None:
    closed, running = best[end]
    if in_run and cost < running:
        best[end], came[end] = (closed, cost), (came[end][0], start)
    elif not in_run and cost < closed:
        best[end], came[end] = (cost, running), (start, came[end][1])


def _tens(tens: str, ones: str) -> str:
    return f" {_DIGITS.get(tens, '1')}{_DIGITS.get(ones, '0')} "
