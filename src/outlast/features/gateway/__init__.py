"""The gateway: OpenAI's and Anthropic's protocols in front of hosted models, servers of one's own
and the archive; where one target fails, the next one answers, and the answer says so.
"""
