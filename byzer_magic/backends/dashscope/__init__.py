"""The DashScope API, shared by saas/qianwen and saas/qianwen_vl."""
