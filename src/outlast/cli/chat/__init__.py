"""The chat of `run`: lines that are typed, commands of the chat, answers as they stream."""
