// Signing in to argocd-server, as anyone would over its REST API, to issue the account's token.

package up

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// accountToken signs in as admin and lets argocd-server issue a token of the account.
func accountToken(ctx context.Context, client *http.Client, url, password, account string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	login, err := post(ctx, client, url+"/api/v1/session", "", map[string]string{"username": "admin", "password": password})
	if err != nil {
		return "", fmt.Errorf("cannot sign in as admin: %w", err)
	}
	token, err := post(ctx, client, url+"/api/v1/account/"+account+"/token", login, map[string]string{"name": account})
	if err != nil {
		return "", fmt.Errorf("cannot create a token of account %s: %w", account, err)
	}
	return token, nil
}

// post sends JSON and returns the field token of the answer.
func post(ctx context.Context, client *http.Client, url, bearer string, body any) (string, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	data, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", response.Status, data)
	}
	var answer struct{ Token string }
	if err := json.Unmarshal(data, &answer); err != nil {
		return "", err
	}
	if answer.Token == "" {
		return "", errors.New("the answer has no token")
	}
	return answer.Token, nil
}
