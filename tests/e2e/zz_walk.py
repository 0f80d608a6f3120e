"""scratch walk"""
import json, sys, tempfile, time, uuid
from pathlib import Path
from playwright.sync_api import sync_playwright
from tests.live import Installation
from tests.e2e.server import Server
from tests.provider import running
OUT=Path("/work/tmp/shots")
with tempfile.TemporaryDirectory() as d, running() as provider:
    with Installation(Path(d), MARU_EGRESS_ALLOW=provider.address) as inst, Server(inst, provider) as server:
        (room,) = server.populate(1, 3, "tools", "obedient")
        owner, member, third = room.members
        def ask(who, method, path, body=None):
            s, a = inst.request(method, path, who.token, body); print(method, path, s, json.dumps(a)[:300]); return a
        tools = ask(owner, "GET", f"/teams/{room.team}/tools")
        byname = {t["name"]: t["id"] for t in tools["items"]}
        print(byname)
        personas = ask(owner, "GET", f"/teams/{room.team}/personas")["items"]
        P = {p["handle"]: p["id"] for p in personas}
        for h in P:
            ask(owner, "PUT", f"/personas/{P[h]}/tools", {"tools":[{"tool":i,"policy":"ask" if n in("fetch_page",) else "always"} for n,i in byname.items()]})
        with sync_playwright() as p:
            b = p.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            pages = {}
            for who, opts in ((owner, {}), (member, {"locale":"ko-KR","color_scheme":"dark"}), (third, {"viewport":{"width":390,"height":844}})):
                o = {"locale":"en-US","viewport":{"width":1440,"height":900},"timezone_id":"Asia/Seoul", **opts}
                c = b.new_context(**o); c.add_cookies([{"name":"maru_session","value":server.keys[who.user],"url":server.url}])
                pg = c.new_page(); pg.on("console", lambda m, w=who: print("CONSOLE", m.type, m.text) if m.type in("error","warning") else None)
                pg.goto(server.address(room)); pages[who.user]=pg
            time.sleep(2)
            ask(member, "POST", f"/rooms/{room.id}/messages", {"text":"TEXT Let me look.\nUSE clock {\"zone\": \"Asia/Seoul\"} & calculator {\"expression\": \"2*21\"} & search_room {\"words\": \"look\"}\nTEXT One more.\nUSE fetch_page {\"url\": \"https://example.com/a/b?c=1\"}\nTEXT All done.", "personas":[P["tools"]]})
            time.sleep(6)
            for k,(u,pg) in enumerate(pages.items()): pg.screenshot(path=OUT/f"w1_{k}.png")
            ap = ask(member, "GET", "/approvals")
            for a in ap.get("items", []):
                x = ask(member, "GET", f"/approvals/{a['id']}")
            time.sleep(1)
            pages[member.user].goto(server.url); time.sleep(2); pages[member.user].screenshot(path=OUT/"w2_home.png")
            pages[member.user].goto(server.address(room)); time.sleep(2)
            card = pages[member.user].locator(".approval, [data-approval]").first
            print("cards", pages[member.user].locator("[data-approval]").count())
            print(pages[member.user].inner_text("#timeline")[-600:])
            btn = pages[member.user].get_by_role("button", name="한 번 허용")
            print("allow buttons", btn.count())
            if btn.count(): 
                time.sleep(1); btn.first.click(); time.sleep(5)
            for k,(u,pg) in enumerate(pages.items()): pg.screenshot(path=OUT/f"w3_{k}.png")
            ask(member, "POST", f"/rooms/{room.id}/messages", {"text":"USE ask_people {\"question\": \"Which week?\", \"choices\": [\"49\", \"50\"]}\nTEXT Thanks.", "personas":[P["tools"]]})
            time.sleep(4)
            for k,(u,pg) in enumerate(pages.items()): pg.screenshot(path=OUT/f"w4_{k}.png")
            b.close()
        print(inst.log[-3000:] if hasattr(inst,"log") and isinstance(inst.log,str) else "")
