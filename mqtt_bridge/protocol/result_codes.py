"""Result codes: those we send, and what the ones we may receive mean, in English and Chinese.

Six digits: 2xxxxx is the cloud's, 3 and 5 the device's, 4 and 6 Pilot's (DJI: error codes).
"""

from enum import IntEnum
from typing import Final


class Code(IntEnum):
    """The codes that we send."""

    OK = 0
    ILLEGAL_ARGUMENT = 200001
    METHOD_NOT_SUPPORTED = 210003
    ORGANIZATION_GET_FAILED = 210230
    BIND_FAILED = 210231
    BOUND_ELSEWHERE = 210232
    BIND_STATUS_FAILED = 210233


_TEXTS: Final[dict[int, tuple[str, str]]] = {
    0: ("success", "成功"),
    200001: ("the request has an unusable argument", "请求参数不合法"),
    210001: ("the device is not registered", "设备未注册"),
    210002: ("a parameter is invalid", "参数无效"),
    210003: ("not supported: type or method", "不支持该类型或方法"),
    210004: ("not supported: version", "不支持该版本"),
    210005: ("not supported: property", "不支持该属性"),
    210229: ("organization ID and binding code do not belong together", "组织 ID 与绑定码不匹配"),
    210230: ("the organization could not be found", "获取组织信息失败"),
    210231: ("the device could not be bound", "设备绑定失败"),
    210232: ("the device belongs to another organization", "设备已绑定到其他组织"),
    210233: ("the binding status could not be read", "获取设备绑定状态失败"),
    210234: ("there is no such organization", "组织不存在"),
    210235: ("the device is bound to another organization", "设备已被其他组织绑定"),
    211001: ("the message could not be delivered, or nobody answered", "消息下发异常或无应答"),
    212015: ("the device is offline", "设备离线"),
    212510: ("the device's signature is wrong", "设备签名错误"),
    212511: ("the device is online already", "设备已在线"),
    312014: ("the device is being upgraded", "设备正在升级"),
    312015: ("the device is busy", "设备忙"),
    314000: ("not possible in the device's present state", "设备当前状态不支持该操作"),
    319005: ("cloud and dock cannot reach each other", "云端与机场通信异常"),
    319008: ("the dock's clock is not synchronised", "机场时间未同步"),
    319010: ("the dock's firmware is too old", "机场固件版本过低"),
    319036: ("the dock is in remote debugging", "机场处于远程调试"),
    319037: ("the dock is being debugged on site", "机场处于现场调试"),
    319038: ("the dock is being updated", "机场正在更新"),
    319999: ("the dock reports an error of its own", "机场内部错误"),
    321515: ("the route crosses a GEO zone", "航线穿越限飞区"),
    321519: ("a GEO zone lies near the way home", "返航路线附近有限飞区"),
    325001: ("the command has a wrong parameter", "命令参数错误"),
    325003: ("the command failed; try again", "命令执行失败，请重试"),
    325004: ("the device did not finish the command in time", "命令执行超时"),
    325012: ("the aircraft is not connected", "飞行器未连接"),
    326002: ("there is no cellular dongle", "未安装 4G 模块"),
    328051: ("the aircraft is not registered with CAAC", "飞行器未在民航局实名登记"),
    328052: ("the aircraft's registration with CAAC was cancelled", "飞行器的民航局实名登记已注销"),
    336513: ("the target lies in a restricted zone", "目标点位于限飞区"),
    336515: ("the target lies in a restricted zone", "目标点位于限飞区"),
    337537: ("the aircraft came to a restricted or an altitude zone", "飞行器触及限飞区或限高区"),
    337539: ("the aircraft came to a restricted or an altitude zone", "飞行器触及限飞区或限高区"),
    337540: ("the aircraft came to a restricted or an altitude zone", "飞行器触及限飞区或限高区"),
    338006: (
        "the landing dock lacks an unlocking license, or its custom zone is wrong",
        "降落机场缺少解禁证书或自定义飞行区有误",
    ),
    338007: (
        "the landing dock is above an altitude zone and needs an unlocking license",
        "降落机场高于限高区，需要解禁证书",
    ),
    514300: ("gateway error", "网关异常"),
    514301: ("the gateway did not answer in time", "网关请求超时"),
    514302: ("the gateway's certificate is wrong", "网关证书异常"),
    514303: ("the gateway's network failed", "网关网络异常"),
    514304: ("the gateway refused", "网关拒绝请求"),
    615013: ("Pilot: the app is not verified", "Pilot：应用未通过验证"),
}

_RANGES: Final[tuple[tuple[range, tuple[str, str]], ...]] = (
    (
        range(325005, 325012),
        (
            "the dock is busy (flight task, logs, flight areas or maps); try later",
            "机场正忙（飞行任务、日志、飞行区或离线地图），请稍后重试",
        ),
    ),
    (range(600100, 600105), ("a secret, token or signature is wrong", "密钥、令牌或签名错误")),
    (range(615000, 615014), ("Pilot could not do what the page asked for", "Pilot 未能完成页面请求")),
)


def describe(code: int, language: str = "en") -> str:
    """Say what a code means, in English, or in Chinese if `language` starts with "zh".

    An unknown code gives a text with its number.
    """
    found = known(code, language)
    if found is None:
        return f"错误码 {code}" if _is_chinese(language) else f"error {code}"
    return found


def known(code: int, language: str = "en") -> str | None:
    """The same; None for an unknown code."""
    texts = _TEXTS.get(code) or next((texts for codes, texts in _RANGES if code in codes), None)
    return texts and texts[_is_chinese(language)]


def _is_chinese(language: str) -> bool:
    return language.lower().startswith("zh")
