"""Realistic answers for screenshots of the product. `▮` is where the answer pauses."""

PAUSE = "▮"

REVIEW = """\
The client is built with a fixed limit that is older than the new gateway. \
Nothing reads the configured one. This is the smallest change that respects it:

```diff payments/gateway.py
 async def approve(order: Order) -> Receipt:
-    async with client(timeout=3.0) as gateway:
+    async with client(timeout=limits.approve) as gateway:
         reply = await gateway.post("/approve", key=order.key)
         return Receipt.from_reply(reply)
```
"""

INTERVIEWS = """\
Six of the 14 interviews mention the payment step. The complaints fall into three groups:

1. The approval screen looks frozen for more than ten seconds. (4 people, all on Android)
2. Going back empties the cart. (3 people)
3. It says failed, but the card company’s text arr▮ives first. (2 people)
"""

MARKDOWN = """\
## Where the time goes

The **payment step** takes most of it, as `approve()` waits for the gateway. Three things stand out:

- Retries start at once, without a pause.
- The client has a fixed limit.
  - It is older than the gateway.

| Step | Calls | Median |
|:-----|------:|-------:|
| Approve | 1,016 | 3.2 s |
| Capture | 998 | 0.4 s |

```python payments/gateway.py
async def approve(order: Order) -> Receipt:
    return await client.post("/approve", key=order.key)
```

- [x] Measure
- [ ] Raise the limit

The cost of a retry is $c = \\frac{n}{2}$, which is about $5 a day. See [the report](https://a.example/r).

Nothing else▮ needs a change.
"""

SAMPLES = {"review": REVIEW, "interviews": INTERVIEWS, "markdown": MARKDOWN}
